// The tokenizer of a model folder.
#ifndef LONGTAKE_ENGINE_MODELS_TEXT_TOKENIZER_H_
#define LONGTAKE_ENGINE_MODELS_TEXT_TOKENIZER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/models/text/tokenizer_model.h"

namespace longtake {

// Immutable; may be used from any thread.
class Tokenizer {
 public:
  // Reads tokenizer.model (SentencePiece) from `folder`, or tokenizer.json (saved by transformers 5) if there is no
  // tokenizer.model. Settings in tokenizer_config.json that change tokens are applied or refused. Errors name the file.
  static absl::StatusOr<Tokenizer> Load(const std::string& folder);

  // Returns BOS, then the pieces of `text`, without EOS. Names of control pieces in the text ("<bos>", "<end_of_turn>",
  // "<unused7>") are encoded as text, so no prompt can produce a control token. InvalidArgument: the text is not UTF-8.
  absl::StatusOr<std::vector<int32_t>> Encode(std::string_view text) const;
  int64_t vocabulary() const { return model_->vocabulary(); }  // one more than the largest id
  int32_t pad_id() const { return pad_id_; }                   // -1 if the files name none

 private:
  Tokenizer(std::unique_ptr<TokenizerModel> model, int32_t bos_id, int32_t pad_id)
      : model_(std::move(model)), bos_id_(bos_id), pad_id_(pad_id) {}

  std::unique_ptr<TokenizerModel> model_;
  int32_t bos_id_;
  int32_t pad_id_;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_TEXT_TOKENIZER_H_
