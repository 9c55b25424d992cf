// From a prompt to its caption embedding: specification section 2.
#ifndef LONGTAKE_ENGINE_MODELS_TEXT_CAPTION_H_
#define LONGTAKE_ENGINE_MODELS_TEXT_CAPTION_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/models/folder/settings.h"
#include "engine/models/gemma2/gemma2.h"
#include "engine/models/text/tokenizer.h"

namespace longtake {

// A prompt's tokens as the text encoder gets them, and which of its positions are the caption.
struct CaptionTokens {
  std::vector<int32_t> ids;  // padded on the right
  int64_t length = 0;        // tokens that are no padding
  int64_t first_kept = 0;    // the caption: position 0, then all from here on
  int64_t kept() const { return 1 + static_cast<int64_t>(ids.size()) - first_kept; }
  // Of the kept positions those that are no padding: they come first.
  int64_t kept_valid() const { return 1 + (length > first_kept ? length - first_kept : 0); }

  // Tokens of the prompt itself, a motion score included, the instruction prefix and the first token not: as many as
  // it has, and as many as the text encoder gets.
  int64_t prompt_tokens = 0, prompt_tokens_used = 0;
};

class CaptionEncoder {
 public:
  // Reads `folder`'s tokenizer/ and text_encoder/. Errors name file, field or tensor.
  static absl::StatusOr<std::unique_ptr<CaptionEncoder>> Load(Ops& ops, const std::string& folder,
                                                              const ModelSettings& settings,
                                                              const LoadProgress& progress);

  const Gemma2& text_encoder() const { return *text_encoder_; }
  int64_t width() const { return text_encoder_->config().width; }
  int64_t caption_tokens() const { return settings_.caption_tokens; }

  // InvalidArgument for a prompt that is no UTF-8. A prompt that is too long loses its end, but keeps its motion score:
  // the one token sequence that is not upstream's, which would lose both.
  absl::StatusOr<CaptionTokens> Tokenize(std::string_view prompt) const;
  absl::StatusOr<CaptionTokens> TokenizeNegative(std::string_view prompt) const;

  // The caption's rows without padding: out f32 [caption_tokens(), width()], of which the first tokens.kept_valid() are
  // written. `scratch` is backend memory of ScratchBytes(), planned for the longest prompt.
  absl::Status Encode(const CaptionTokens& tokens, void* scratch, Mat out) const;
  // Of the longest prompt; padding in place of words.
  CaptionTokens Longest() const;
  size_t ScratchBytes() const;

 private:
  CaptionEncoder(Ops& ops, const ModelSettings& settings) : ops_(ops), settings_(settings) {}
  // `ids` with their first `shared` tokens not the prompt's; of too many the last ones are cut, but not `suffix`.
  CaptionTokens Fit(std::vector<int32_t> ids, int64_t shared, std::span<const int32_t> suffix, int64_t rows) const;

  Ops& ops_;
  ModelSettings settings_;
  std::optional<Tokenizer> tokenizer_;
  std::unique_ptr<Gemma2> text_encoder_;
  int32_t pad_id_ = 0;
  std::vector<int32_t> prefix_ids_;        // of the instruction prefix, the first token included
  std::string motion_score_;               // appended to prompts
  std::vector<int32_t> motion_score_ids_;  // of that
  int64_t prompt_rows_ = 0;                // tokens of a padded prompt, prefix included
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_TEXT_CAPTION_H_
