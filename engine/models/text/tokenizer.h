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
  // `folder` holds tokenizer.model (SentencePiece), or else tokenizer.json (what transformers 5 saves); where both are
  // there, tokenizer.model is taken. Settings of tokenizer_config.json that change tokens are honoured or refused.
  // Errors name the file.
  static absl::StatusOr<Tokenizer> Load(const std::string& folder);

  // BOS, then the pieces of `text`; no EOS. The names of control pieces ("<bos>", "<end_of_turn>", "<unused7>") in the
  // text are text: no prompt makes a control token. InvalidArgument where the text is not UTF-8.
  absl::StatusOr<std::vector<int32_t>> Encode(std::string_view text) const;
  int64_t vocabulary() const { return model_->vocabulary(); }  // one more than the largest id
  int32_t pad_id() const { return pad_id_; }                   // -1 where the files name none

 private:
  Tokenizer(std::unique_ptr<TokenizerModel> model, int32_t bos_id, int32_t pad_id)
      : model_(std::move(model)), bos_id_(bos_id), pad_id_(pad_id) {}

  std::unique_ptr<TokenizerModel> model_;
  int32_t bos_id_;
  int32_t pad_id_;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_TEXT_TOKENIZER_H_
