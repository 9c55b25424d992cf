// JSON from files that may hold anything.
#ifndef LONGTAKE_ENGINE_CORE_JSON_TEXT_H_
#define LONGTAKE_ENGINE_CORE_JSON_TEXT_H_

#include <string_view>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"

namespace longtake {

// The value. InvalidArgument, in words that follow a file's name, where the text is not JSON, is nested deeper than 64
// levels, or has an object with two equal keys, of which nlohmann would keep the last.
//
// nlohmann parses any depth, but copies and prints by recursion: some 50,000 brackets, which a file of 50 KB holds,
// would end the process. The deepest file of a model folder has 7 levels.
absl::StatusOr<nlohmann::json> ParseJson(std::string_view text);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_CORE_JSON_TEXT_H_
