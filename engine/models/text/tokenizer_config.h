// Reads the settings of tokenizer_config.json that could change a text's tokens.
#ifndef LONGTAKE_ENGINE_MODELS_TEXT_TOKENIZER_CONFIG_H_
#define LONGTAKE_ENGINE_MODELS_TEXT_TOKENIZER_CONFIG_H_

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace longtake {

struct TokenizerConfig {
  bool says_bos = false;  // the file has add_bos_token: texts begin with bos_token
  std::optional<std::string> bos_token, pad_token;
  std::vector<std::pair<std::string, int32_t>> added_tokens;  // pieces, and the ids that they must have
};

// Returns defaults if the file does not exist. InvalidArgument names the file and a field that is unsupported or
// unknown.
absl::StatusOr<TokenizerConfig> LoadTokenizerConfig(const std::string& path);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_TEXT_TOKENIZER_CONFIG_H_
