#include "clients/cli/request.h"

#include <cmath>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "clients/cli/proto_time.h"

namespace longtake::client {

std::optional<std::string> MakeRequest(const GenerateFlags& flags, v1::VideoSpec& spec, v1::DeliveryOptions& options) {
  if (!(std::abs(flags.seconds) < kLongestSeconds)) return absl::StrFormat("--seconds: %g is no length", flags.seconds);
  spec.set_prompt(flags.prompt);
  spec.set_negative_prompt(flags.negative_prompt);
  *spec.mutable_duration() = ToProto(flags.seconds);
  options.set_delivery(flags.offline ? v1::DELIVERY_OFFLINE : v1::DELIVERY_LIVE);
  if (flags.seed.value_or(-1) >= 0) spec.set_seed(*flags.seed);
  if (!flags.size.empty()) {
    const std::vector<std::string> sides = absl::StrSplit(flags.size, 'x');
    int width = 0, height = 0;
    if (sides.size() != 2 || !absl::SimpleAtoi(sides[0], &width) || !absl::SimpleAtoi(sides[1], &height)) {
      return absl::StrFormat("--size: \"%s\" is not WIDTHxHEIGHT", flags.size);
    }
    spec.mutable_size()->set_width(width);
    spec.mutable_size()->set_height(height);
  }
  options.set_priority(flags.priority);
  if (flags.max_wait.has_value()) *options.mutable_max_wait_duration() = ToProto(*flags.max_wait);
  if (flags.max_lead.has_value()) *options.mutable_max_lead_duration() = ToProto(*flags.max_lead);
  if (flags.adaptive) options.set_fidelity(v1::FIDELITY_ADAPTIVE);
  for (const std::string& text : flags.then) {
    const std::pair<std::string, std::string> parts = absl::StrSplit(text, absl::MaxSplits(':', 1));
    double at = 0;
    if (!absl::SimpleAtod(parts.first, &at) || !(std::abs(at) < kLongestSeconds))
      return absl::StrFormat("--then: \"%s\" is not SECONDS:PROMPT", text);
    v1::PromptChange& change = *spec.add_prompt_changes();
    *change.mutable_at_offset() = ToProto(at);
    change.set_prompt(parts.second);
  }
  for (const std::string& text : flags.adapters) {
    const std::pair<std::string, std::string> parts = absl::StrSplit(text, absl::MaxSplits('=', 1));
    v1::Adapter& adapter = *spec.add_adapters();
    adapter.set_name(parts.first);
    if (parts.first.size() == text.size()) continue;
    double strength = 0;
    if (!absl::SimpleAtod(parts.second, &strength) || !std::isfinite(strength)) {
      return absl::StrFormat("--adapter: \"%s\" is not NAME or NAME=STRENGTH", text);
    }
    adapter.set_strength(strength);
  }
  if (flags.decoder == "tiny") spec.set_decoder(v1::DECODER_TINY);
  if (!flags.first_image.empty()) {
    std::ifstream file(flags.first_image, std::ios::binary);
    if (!file) return absl::StrFormat("--image: cannot read %s", flags.first_image);
    spec.set_first_image(std::string(std::istreambuf_iterator<char>(file), {}));
  }
  return std::nullopt;
}

std::string VideoName(const std::string& text) {
  return absl::StartsWith(text, "videos/") ? text : absl::StrCat("videos/", text);
}

int Complain(const std::string& text) {
  std::fprintf(stderr, "longtake: %s\n", text.c_str());
  return 1;
}

}  // namespace longtake::client
