#include "engine/core/json_text.h"

#include <cstddef>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace longtake {
namespace {

constexpr int kMaxDepth = 64;
constexpr size_t kShownBytes = 100;  // of a key, in errors

bool TooDeep(std::string_view text) {
  int depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      if (++depth > kMaxDepth) return true;
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
  return false;
}

}  // namespace

absl::StatusOr<nlohmann::json> ParseJson(std::string_view text) {
  using nlohmann::json;
  if (TooDeep(text)) return absl::InvalidArgumentError("is nested too deeply");
  std::vector<std::set<std::string>> keys;  // of the objects that the parser is inside of
  std::string twice;
  const auto watch = [&](int, json::parse_event_t event, json& value) {
    if (event == json::parse_event_t::object_start) {
      keys.emplace_back();
    } else if (event == json::parse_event_t::object_end) {
      keys.pop_back();
    } else if (event == json::parse_event_t::key) {
      const auto& key = value.get_ref<const std::string&>();
      if (!keys.back().insert(key).second && twice.empty()) twice = key.substr(0, kShownBytes);
    }
    return true;
  };
  json value = json::parse(text, watch, /*allow_exceptions=*/false);
  if (value.is_discarded()) return absl::InvalidArgumentError("is not valid JSON");
  if (!twice.empty()) return absl::InvalidArgumentError(absl::StrCat("has the key '", twice, "' twice in one object"));
  return value;
}

}  // namespace longtake
