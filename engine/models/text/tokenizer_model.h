// The interface that both kinds of tokenizer files implement.
#ifndef LONGTAKE_ENGINE_MODELS_TEXT_TOKENIZER_MODEL_H_
#define LONGTAKE_ENGINE_MODELS_TEXT_TOKENIZER_MODEL_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace longtake {

// Immutable; may be used from any thread.
class TokenizerModel {
 public:
  virtual ~TokenizerModel() = default;

  // Appends the pieces of `text`, which is UTF-8. Names of control pieces (IsControlPiece) are encoded as text.
  virtual void Encode(std::string_view text, std::vector<int32_t>* ids) const = 0;
  // Finds any piece, including control pieces.
  virtual std::optional<int32_t> FindPiece(std::string_view piece) const = 0;
  // One more than the largest id.
  virtual int64_t vocabulary() const = 0;
  // The piece that the file puts in front of a text; nullopt if it does not name one.
  virtual std::optional<int32_t> bos_id() const = 0;
  virtual std::optional<int32_t> pad_id() const = 0;
};

// Parses the bytes of a tokenizer.model. Error messages are worded to follow the file's name.
absl::StatusOr<std::unique_ptr<TokenizerModel>> ParseSentencePiece(std::string_view bytes);
// Parses the text of a tokenizer.json. Error messages are worded to follow the file's name.
absl::StatusOr<std::unique_ptr<TokenizerModel>> ParseTokenizerJson(std::string_view text);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_TEXT_TOKENIZER_MODEL_H_
