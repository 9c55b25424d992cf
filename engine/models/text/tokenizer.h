// The SentencePiece tokenizer of a model folder.
#ifndef LONGTAKE_ENGINE_MODELS_TEXT_TOKENIZER_H_
#define LONGTAKE_ENGINE_MODELS_TEXT_TOKENIZER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/models/text/sentencepiece_model.h"

namespace longtake {

// Immutable; may be used from any thread.
class Tokenizer {
 public:
  // `folder` holds tokenizer.model, and perhaps tokenizer_config.json, whose settings that would change the tokens are
  // checked. Errors name the file.
  static absl::StatusOr<Tokenizer> Load(const std::string& folder);

  // BOS, then the pieces of `text`; no EOS. Pieces such as "<eos>" in the text are text: no prompt makes a control
  // token.
  absl::StatusOr<std::vector<int32_t>> Encode(std::string_view text) const;
  int64_t vocabulary() const { return model_->pieces(); }
  int32_t pad_id() const { return model_->pad_id(); }  // -1 where the model has none

 private:
  explicit Tokenizer(std::unique_ptr<SentencePieceModel> model) : model_(std::move(model)) {}

  std::unique_ptr<SentencePieceModel> model_;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_TEXT_TOKENIZER_H_
