// Encodes a prompt to its caption embedding. Specification section 2.
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

// The token ids that the text encoder receives for a prompt, and the positions of them that form the caption.
struct CaptionTokens {
  std::vector<int32_t> ids;  // padded on the right
  int64_t length = 0;        // tokens before the padding
  int64_t first_kept = 0;    // the caption is position 0 and all positions from here on
  int64_t kept() const { return 1 + static_cast<int64_t>(ids.size()) - first_kept; }
  // The number of kept positions that are not padding. They precede the padding.
  int64_t kept_valid() const { return 1 + (length > first_kept ? length - first_kept : 0); }

  // The prompt's own tokens: how many it has, and how many of them the text encoder receives. A motion score is
  // included, the instruction prefix and BOS are not.
  int64_t prompt_tokens = 0, prompt_tokens_used = 0;
};

class CaptionEncoder {
 public:
  // Reads `folder`'s tokenizer/ and text_encoder/; `low_precision` as Gemma2::Load. Errors name file, field or tensor.
  static absl::StatusOr<std::unique_ptr<CaptionEncoder>> Load(Ops& ops, const std::string& folder,
                                                              const ModelSettings& settings,
                                                              const LoadProgress& progress, bool low_precision = false);

  const Gemma2& text_encoder() const { return *text_encoder_; }
  int64_t width() const { return text_encoder_->config().width; }
  int64_t caption_tokens() const { return settings_.caption_tokens; }

  // InvalidArgument: the prompt is not valid UTF-8. Too long a prompt is cut at its end but keeps its motion score. The
  // reference pipelines cut the motion score as well, so tokens differ from theirs in this case.
  absl::StatusOr<CaptionTokens> Tokenize(std::string_view prompt) const;
  absl::StatusOr<CaptionTokens> TokenizeNegative(std::string_view prompt) const;

  // Writes the caption's rows without padding: the first tokens.kept_valid() rows of out f32 [caption_tokens(),
  // width()]. `scratch` is backend memory of ScratchBytes(), which fits the longest prompt.
  absl::Status Encode(const CaptionTokens& tokens, void* scratch, Mat out) const;
  // Returns the longest possible prompt, made of padding tokens.
  CaptionTokens Longest() const;
  size_t ScratchBytes() const;

 private:
  CaptionEncoder(Ops& ops, const ModelSettings& settings) : ops_(ops), settings_(settings) {}
  // Pads or cuts `ids` to `rows`. The first `shared` ids do not belong to the prompt; if there are too many, the last
  // ones before `suffix` are cut.
  CaptionTokens Fit(std::vector<int32_t> ids, int64_t shared, std::span<const int32_t> suffix, int64_t rows) const;

  Ops& ops_;
  ModelSettings settings_;
  std::optional<Tokenizer> tokenizer_;
  std::unique_ptr<Gemma2> text_encoder_;
  int32_t pad_id_ = 0;
  std::vector<int32_t> prefix_ids_;        // of the instruction prefix, including BOS
  std::string motion_score_;               // appended to prompts
  std::vector<int32_t> motion_score_ids_;  // tokens of motion_score_
  int64_t prompt_rows_ = 0;                // tokens of a padded prompt, including the prefix
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_TEXT_CAPTION_H_
