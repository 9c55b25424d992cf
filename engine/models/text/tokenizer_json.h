// Parses a tokenizer.json, a serialized tokenizer of Hugging Face's `tokenizers`.
#ifndef LONGTAKE_ENGINE_MODELS_TEXT_TOKENIZER_JSON_H_
#define LONGTAKE_ENGINE_MODELS_TEXT_TOKENIZER_JSON_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace longtake {

struct TokenizerJson {
  struct AddedToken {
    std::string text;
    int32_t id = 0;
    bool normalized = false;  // matched after spaces have been replaced, else in the original text
    bool special = false;
  };

  std::vector<std::pair<std::string, int32_t>> vocabulary;
  std::vector<std::pair<std::string, std::string>> merges;  // first merge first
  std::vector<AddedToken> added_tokens;
  // The piece that the post-processor puts in front of every text.
  std::optional<int32_t> bos_id;
};

// Reads the kind of tokenizer that GemmaTokenizerFast saves: BPE with byte fallback, on text whose spaces are "▁".
// Other components and unknown fields are refused by name. The InvalidArgument's message is worded to follow the file's
// name.
absl::StatusOr<TokenizerJson> ParseTokenizerJsonFile(std::string_view text);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_TEXT_TOKENIZER_JSON_H_
