// Which model a folder holds, in one word.
#ifndef LONGTAKE_ENGINE_MODELS_FOLDER_MODEL_DIGEST_H_
#define LONGTAKE_ENGINE_MODELS_FOLDER_MODEL_DIGEST_H_

#include <string>

#include "absl/status/statusor.h"

namespace longtake {

// 16 hexadecimal digits: 64-bit FNV-1a of the names, sizes and bytes of the model's files (settings, tokenizer,
// weights), in the order of their names. Of a file above 32 MB, which only weights are, 256 pages of 4 KB at equal
// distances count: training changes every tensor, and reading 10 GB twice would double the time of loading. The digest
// does not depend on the folder's place or on other files in it. Errors name the file.
absl::StatusOr<std::string> ModelDigest(const std::string& folder);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_FOLDER_MODEL_DIGEST_H_
