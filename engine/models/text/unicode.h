// Python's str.strip() and str.lower() on UTF-8, which the reference pipelines apply to prompts.
#ifndef LONGTAKE_ENGINE_MODELS_TEXT_UNICODE_H_
#define LONGTAKE_ENGINE_MODELS_TEXT_UNICODE_H_

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace longtake {

// `text` without white space at both ends, in lower case where asked. InvalidArgument where it is no UTF-8.
absl::StatusOr<std::string> StripText(std::string_view text, bool lower_case);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_TEXT_UNICODE_H_
