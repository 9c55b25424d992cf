#include "engine/models/text/caption.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "engine/models/text/unicode.h"

namespace longtake {

absl::StatusOr<std::unique_ptr<CaptionEncoder>> CaptionEncoder::Load(Ops& ops, const std::string& folder,
                                                                     const ModelSettings& settings,
                                                                     const LoadProgress& progress, bool low_precision) {
  std::unique_ptr<CaptionEncoder> encoder(new CaptionEncoder(ops, settings));
  ASSIGN_OR_RETURN(encoder->tokenizer_, Tokenizer::Load(folder + "/tokenizer"));
  ASSIGN_OR_RETURN(encoder->text_encoder_, Gemma2::Load(ops, folder + "/text_encoder", progress, low_precision));
  const Gemma2Config& config = encoder->text_encoder_->config();
  if (encoder->tokenizer_->vocabulary() > config.vocabulary) {
    return absl::InvalidArgumentError(absl::StrCat(folder, "/text_encoder/config.json: field 'vocab_size' is ",
                                                   config.vocabulary, ", but the tokenizer has ",
                                                   encoder->tokenizer_->vocabulary(), " pieces"));
  }
  encoder->pad_id_ = encoder->tokenizer_->pad_id() >= 0 ? encoder->tokenizer_->pad_id() : std::max(config.pad_id, 0);
  encoder->prompt_rows_ = settings.caption_tokens;
  ASSIGN_OR_RETURN(encoder->prefix_ids_, encoder->tokenizer_->Encode(settings.prompt_prefix));
  if (!settings.prompt_prefix.empty()) {
    // As in the reference pipeline, BOS counts in both numbers, and the last position of the prefix is kept.
    encoder->prompt_rows_ += static_cast<int64_t>(encoder->prefix_ids_.size()) - 2;
  }
  if (settings.motion_score) {
    encoder->motion_score_ = absl::StrCat(" motion score: ", *settings.motion_score, ".");
    ASSIGN_OR_RETURN(encoder->motion_score_ids_, encoder->tokenizer_->Encode(encoder->motion_score_));
    encoder->motion_score_ids_.erase(encoder->motion_score_ids_.begin());  // BOS
  }
  return encoder;
}

CaptionTokens CaptionEncoder::Fit(std::vector<int32_t> ids, int64_t shared, std::span<const int32_t> suffix,
                                  int64_t rows) const {
  CaptionTokens tokens;
  const auto given = static_cast<int64_t>(ids.size());
  tokens.length = std::min(given, rows);
  tokens.first_kept = rows - (settings_.caption_tokens - 1);
  tokens.prompt_tokens = given - shared;
  tokens.prompt_tokens_used = tokens.length - shared;
  if (given > rows) {
    ids.resize(std::max(shared, rows - static_cast<int64_t>(suffix.size())));
    ids.insert(ids.end(), suffix.begin(), suffix.end());
  }
  ids.resize(rows, pad_id_);
  tokens.ids = std::move(ids);
  return tokens;
}

absl::StatusOr<CaptionTokens> CaptionEncoder::Tokenize(std::string_view prompt) const {
  std::string text(prompt);
  if (settings_.strip_before_motion_score) {
    ASSIGN_OR_RETURN(text, StripText(text, settings_.lower_case));
    text += motion_score_;
  } else {
    ASSIGN_OR_RETURN(text, StripText(text + motion_score_, settings_.lower_case));
  }
  ASSIGN_OR_RETURN(std::vector<int32_t> ids, tokenizer_->Encode(settings_.prompt_prefix + text));
  // A space at the prefix's end may have merged into the prompt's first token, which then counts as the prompt's.
  const auto differs = std::mismatch(prefix_ids_.begin(), prefix_ids_.end(), ids.begin(), ids.end()).first;
  return Fit(std::move(ids), differs - prefix_ids_.begin(), motion_score_ids_, prompt_rows_);
}

absl::StatusOr<CaptionTokens> CaptionEncoder::TokenizeNegative(std::string_view prompt) const {
  ASSIGN_OR_RETURN(const std::string text, StripText(prompt, settings_.lower_case));
  ASSIGN_OR_RETURN(std::vector<int32_t> ids, tokenizer_->Encode(text));
  return Fit(std::move(ids), /*shared=*/1, {}, settings_.caption_tokens);
}

absl::Status CaptionEncoder::Encode(const CaptionTokens& tokens, void* scratch, Mat out) const {
  Arena arena(scratch);
  // Earlier rows do not attend to padding, so the rows of the padding are not computed.
  const std::span<const int32_t> ids(tokens.ids.data(), tokens.length);
  const Mat hidden = arena.Take(DType::kF32, tokens.length, width());
  const TextSequence sequence{.ids = ids, .length = tokens.length};
  RETURN_IF_ERROR(
      text_encoder_->Forward({&sequence, 1}, arena.Bytes(text_encoder_->ScratchBytes(tokens.length)), hidden));
  ops_.elementwise().Convert(hidden.Rows(0, 1), out.Rows(0, 1));
  const int64_t more = tokens.kept_valid() - 1;
  if (more > 0) ops_.elementwise().Convert(hidden.Rows(tokens.first_kept, more), out.Rows(1, more));
  return absl::OkStatus();
}

CaptionTokens CaptionEncoder::Longest() const {
  const int64_t rows = std::max<int64_t>(prompt_rows_, settings_.caption_tokens);
  return {
      .ids = std::vector<int32_t>(rows, pad_id_), .length = rows, .first_kept = rows - (settings_.caption_tokens - 1)};
}

size_t CaptionEncoder::ScratchBytes() const {
  const int64_t rows = std::max<int64_t>(prompt_rows_, settings_.caption_tokens);
  Arena arena;
  arena.Take(DType::kF32, rows, width());
  arena.Bytes(text_encoder_->ScratchBytes(rows));
  return arena.peak();
}

}  // namespace longtake
