// The settings of tokenizer_config.json that could change a text's tokens.
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
  bool says_bos = false;  // that a text begins with the bos_token
  std::optional<std::string> bos_token, pad_token;
  std::vector<std::pair<std::string, int32_t>> added_tokens;  // pieces and the ids that they must have
};

// Where the file does not exist, nothing is set. InvalidArgument names the file, and the field that is not supported or
// not known.
absl::StatusOr<TokenizerConfig> LoadTokenizerConfig(const std::string& path);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_TEXT_TOKENIZER_CONFIG_H_
