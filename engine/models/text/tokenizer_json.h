// What a tokenizer.json says: a serialized tokenizer of Hugging Face's `tokenizers`.
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
    bool normalized = false;  // looked for in the text with spaces replaced, else in the text as it is
    bool special = false;
  };

  std::vector<std::pair<std::string, int32_t>> vocabulary;
  std::vector<std::pair<std::string, std::string>> merges;  // the first is done first
  std::vector<AddedToken> added_tokens;
  // Of the post-processor: the piece in front of every text.
  std::optional<int32_t> bos_id;
};

// Reads the tokenizer that GemmaTokenizerFast saves: BPE with byte fallback on a text whose spaces are "▁". Any other
// component, or a field that is not known, is refused by name. InvalidArgument, in words that follow the file's name.
absl::StatusOr<TokenizerJson> ParseTokenizerJsonFile(std::string_view text);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_TEXT_TOKENIZER_JSON_H_
