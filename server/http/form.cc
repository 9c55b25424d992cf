#include "server/http/form.h"

#include <algorithm>
#include <array>
#include <optional>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "common/json_depth.h"
#include "common/utf8.h"
#include "server/video/error.h"

namespace longtake::server {
namespace {

using nlohmann::json;

constexpr size_t kMostParts = 64, kMostBoundary = 70;  // RFC 2046
constexpr int kDeepest = 3;                            // as in a JSON body

absl::Status Wrong(const char* why) { return InvalidRequest({{"body", why}}); }

// The value of name="value" or name=value in a header's parameters.
std::optional<std::string> Parameter(absl::string_view header, const std::string& name) {
  // Not within another word: "name" is the end of "filename".
  for (size_t at = 0; (at = header.find(name + "=", at)) != header.npos; ++at) {
    if (at > 0 && header[at - 1] != ' ' && header[at - 1] != ';' && header[at - 1] != '\t') continue;
    absl::string_view value = header.substr(at + name.size() + 1);
    if (absl::ConsumePrefix(&value, "\"")) {
      const size_t end = value.find('"');
      if (end == value.npos) return std::nullopt;
      return std::string(value.substr(0, end));
    }
    return std::string(value.substr(0, value.find_first_of("; \t\r\n")));
  }
  return std::nullopt;
}

// What a form's text stands for. Texts of people and names are never anything else.
absl::StatusOr<json> ValueOf(const std::string& name, absl::string_view text) {
  // As in a JSON body, whose parser refuses it: no text of a request can then fail to be stored as JSON.
  if (!IsUtf8(name) || !IsUtf8({text.data(), text.size()})) return Wrong("is a form whose text is not UTF-8");
  constexpr std::array kTexts = {"prompt",     "negative_prompt", "model",  "size",
                                 "request_id", "input_reference", "seconds"};
  if (std::find(kTexts.begin(), kTexts.end(), name) != kTexts.end()) return json(std::string(text));
  if (JsonNestsDeeper({text.data(), text.size()}, kDeepest)) return Wrong("nests too deep");
  json value = json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
  return value.is_discarded() ? json(std::string(text)) : value;
}

}  // namespace

bool IsForm(const std::string& content_type) { return absl::StartsWithIgnoreCase(content_type, "multipart/form-data"); }

absl::StatusOr<json> ParseForm(const std::string& content_type, const std::string& body) {
  const std::optional<std::string> boundary = Parameter(content_type, "boundary");
  if (!boundary.has_value() || boundary->empty() || boundary->size() > kMostBoundary) {
    return Wrong("is a form without a boundary");
  }
  const std::string line = absl::StrCat("\r\n--", *boundary);
  absl::string_view rest = body;
  // The first boundary may stand at the very beginning.
  if (!absl::ConsumePrefix(&rest, absl::string_view(line).substr(2))) {
    const size_t first = rest.find(line);
    if (first == rest.npos) return Wrong("is a form without parts");
    rest.remove_prefix(first + line.size());
  }
  json out = json::object();
  while (!absl::ConsumePrefix(&rest, "--")) {
    if (out.size() == kMostParts) return Wrong("is a form of too many parts");
    const size_t head_end = rest.find("\r\n\r\n"), end = rest.find(line);
    if (head_end == rest.npos || end == rest.npos || end < head_end + 2) return Wrong("is a form that is cut off");
    const absl::string_view head = rest.substr(0, head_end);
    const absl::string_view content = rest.substr(head_end + 4, end - std::min(end, head_end + 4));
    const std::optional<std::string> name = Parameter(head, "name");
    if (!name.has_value() || name->empty()) return Wrong("is a form with a part without a name");
    if (out.contains(*name)) return Wrong("is a form with a part twice");
    if (Parameter(head, "filename").has_value()) {
      out[*name] = json::binary({content.begin(), content.end()});
    } else {
      absl::StatusOr<json> value = ValueOf(*name, content);
      if (!value.ok()) return value;
      out[*name] = *std::move(value);
    }
    rest.remove_prefix(end + line.size());
  }
  return out;
}

}  // namespace longtake::server
