// A short digest that identifies the model in a folder.
#ifndef LONGTAKE_ENGINE_MODELS_FOLDER_MODEL_DIGEST_H_
#define LONGTAKE_ENGINE_MODELS_FOLDER_MODEL_DIGEST_H_

#include <string>

#include "absl/status/statusor.h"

namespace longtake {

// Returns 16 hexadecimal digits: the 64-bit FNV-1a hash of the names, sizes and bytes of the model's files (settings,
// tokenizer, weights), in the order of their names. Of a file above 32 MB, which only weights are, pages are
// hashed (Fnv1a::AddSampledFile).
// Of longtake.json the fields are hashed, but for `about` and `examples`, which nothing is made from.
// The digest does not depend on the folder's path or on other files in it. Errors name the file.
absl::StatusOr<std::string> ModelDigest(const std::string& folder);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_FOLDER_MODEL_DIGEST_H_
