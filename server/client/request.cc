#include "server/client/request.h"

#include <cstdio>
#include <fstream>
#include <iterator>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"

namespace longtake::client {

std::optional<std::string> MakeRequest(const GenerateFlags& flags, v1::GenerateRequest& request) {
  request.set_prompt(flags.prompt);
  request.set_negative_prompt(flags.negative_prompt);
  request.set_seconds(flags.seconds);
  request.set_delivery(flags.offline ? v1::DELIVERY_OFFLINE : v1::DELIVERY_LIVE);
  if (flags.seed.has_value()) request.set_seed(*flags.seed);
  if (!flags.size.empty()) {
    const std::vector<std::string> sides = absl::StrSplit(flags.size, 'x');
    int width = 0, height = 0;
    if (sides.size() != 2 || !absl::SimpleAtoi(sides[0], &width) || !absl::SimpleAtoi(sides[1], &height)) {
      return absl::StrFormat("--size: \"%s\" is not WIDTHxHEIGHT", flags.size);
    }
    request.mutable_size()->set_width(width);
    request.mutable_size()->set_height(height);
  }
  request.set_tenant(flags.tenant);
  request.set_priority(flags.priority);
  if (flags.max_wait.has_value()) request.set_max_wait_seconds(*flags.max_wait);
  if (flags.max_lead.has_value()) request.set_max_lead_seconds(*flags.max_lead);
  if (flags.adaptive) request.set_fidelity(v1::FIDELITY_ADAPTIVE);
  for (const std::string& text : flags.then) {
    const std::pair<std::string, std::string> parts = absl::StrSplit(text, absl::MaxSplits(':', 1));
    double at = 0;
    if (!absl::SimpleAtod(parts.first, &at)) return absl::StrFormat("--then: \"%s\" is not SECONDS:PROMPT", text);
    v1::PromptChange& change = *request.add_then();
    change.set_at_seconds(at);
    change.set_prompt(parts.second);
  }
  if (!flags.first_image.empty()) {
    std::ifstream file(flags.first_image, std::ios::binary);
    if (!file) return absl::StrFormat("--first-image: cannot read %s", flags.first_image);
    request.set_first_image(std::string(std::istreambuf_iterator<char>(file), {}));
  }
  return std::nullopt;
}

int Complain(const std::string& text) {
  std::fprintf(stderr, "longtake: %s\n", text.c_str());
  return 1;
}

}  // namespace longtake::client
