// Parses JSON from untrusted files.
#ifndef LONGTAKE_ENGINE_CORE_JSON_TEXT_H_
#define LONGTAKE_ENGINE_CORE_JSON_TEXT_H_

#include <string_view>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"

namespace longtake {

// InvalidArgument if the text is not JSON, is nested deeper than 64 levels, or has an object with two equal keys
// (nlohmann would keep the last one). The message is worded to follow a file's name.
//
// nlohmann parses any depth, but copies and prints recursively: 50,000 nested brackets, which fit into 50 KB, would
// overflow the stack. The deepest file of a model folder has 7 levels.
absl::StatusOr<nlohmann::json> ParseJson(std::string_view text);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_CORE_JSON_TEXT_H_
