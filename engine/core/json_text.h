// JSON from files that may hold anything.
#ifndef LONGTAKE_ENGINE_CORE_JSON_TEXT_H_
#define LONGTAKE_ENGINE_CORE_JSON_TEXT_H_

#include <optional>
#include <string_view>

#include "nlohmann/json.hpp"

namespace longtake {

// The value, or none where the text is not JSON or is nested deeper than 64 levels. nlohmann parses any depth, but
// copies and prints by recursion: some 50,000 brackets, which a file of 50 KB holds, would end the process. The deepest
// file of a model folder has 4 levels.
std::optional<nlohmann::json> ParseJson(std::string_view text);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_CORE_JSON_TEXT_H_
