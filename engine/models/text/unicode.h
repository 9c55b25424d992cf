// UTF-8 characters, and Python's str.strip() and str.lower(), which the reference pipelines apply to prompts.
#ifndef LONGTAKE_ENGINE_MODELS_TEXT_UNICODE_H_
#define LONGTAKE_ENGINE_MODELS_TEXT_UNICODE_H_

#include <cstddef>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace longtake {

// Returns the end of the character that begins at byte `begin`. `text` is UTF-8.
size_t NextCharacter(std::string_view text, size_t begin);

// Removes whitespace at both ends, and converts to lower case if requested. InvalidArgument: `text` is not valid UTF-8.
absl::StatusOr<std::string> StripText(std::string_view text, bool lower_case);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_TEXT_UNICODE_H_
