#include "engine/runtime/session_position.h"

#include <numeric>

namespace longtake {

bool ReadsPrompt(const SessionPosition& at) {
  return at.has_prompt && !(at.prompt_waits && at.prompt_from <= at.block);
}

absl::Status CompletePosition(const PositionLimits& limits, SessionPosition* at) {
  const absl::Status refusal = absl::DataLossError("checkpoint: no session stands where it says");
  const auto within = [](int64_t value, int64_t least, int64_t most) { return value >= least && value <= most; };
  const int blocks = static_cast<int>(limits.lengths.size());
  if (!within(at->block, 1, blocks) || !within(at->prompt_from, 0, blocks)) return refusal;
  const auto end = limits.lengths.begin() + at->block;
  at->first_frame = std::accumulate(limits.lengths.begin(), end, 0);
  if (!within(at->decoded, at->first_frame - *(end - 1), at->first_frame)) return refusal;
  const auto prompt = [&limits, &within](const PromptTokens& tokens, bool is_read) {
    const int64_t least = is_read ? 1 : 0, most = limits.caption_tokens;
    return within(tokens.positive, least, most) && within(tokens.negative, limits.guided ? least : 0, most);
  };
  if (!prompt(at->prompt, ReadsPrompt(*at)) || !prompt(at->next_prompt, at->prompt_waits)) return refusal;
  return absl::OkStatus();
}

}  // namespace longtake
