#include "scheduler/request.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace longtake::scheduler {
namespace {

absl::Status CheckLadder(const Request& request) {
  for (size_t i = 0; i < request.step_ladder.size(); ++i) {
    const int most = i == 0 ? request.denoise_steps : request.step_ladder[i - 1] - 1;
    if (request.step_ladder[i] < 1 || request.step_ladder[i] > most || (i == 0 && request.step_ladder[0] != most)) {
      return absl::InvalidArgumentError("step_ladder must descend from denoise_steps");
    }
  }
  return absl::OkStatus();
}

absl::Status CheckPrompts(const Request& request) {
  for (const int block : request.prompt_blocks) {
    if (block < 1 || block >= static_cast<int>(request.block_latents.size())) {
      return absl::InvalidArgumentError("prompt_blocks has a block that is not the second or a later one of the video");
    }
  }
  return absl::OkStatus();
}

absl::Status CheckMadeBlocks(const Request& request) {
  const bool fit = request.made_blocks >= 0 && request.made_blocks < static_cast<int>(request.block_latents.size());
  return fit ? absl::OkStatus() : absl::InvalidArgumentError("made_blocks leaves no block to make");
}

absl::Status CheckMadeLevels(const Request& request) {
  const int levels = std::max(1, static_cast<int>(request.step_ladder.size()));
  const bool fit = request.made_levels.size() <= request.block_latents.size() &&
                   std::all_of(request.made_levels.begin(), request.made_levels.end(),
                               [levels](int level) { return level >= 0 && level < levels; });
  return fit ? absl::OkStatus() : absl::InvalidArgumentError("made_levels has a level or a block that does not exist");
}

}  // namespace

absl::Status Check(const Request& request) {
  if (request.denoise_steps < 1) return absl::InvalidArgumentError("denoise_steps must be at least 1");
  if (request.block_latents.empty()) return absl::InvalidArgumentError("block_latents is empty");
  for (int latents : request.block_latents) {
    if (latents < 1) return absl::InvalidArgumentError("block_latents has a block without latent frames");
  }
  const auto above_zero = [](double value, const char* field) {
    return value > 0 ? absl::OkStatus() : absl::InvalidArgumentError(absl::StrCat(field, " must be above 0"));
  };
  for (const absl::Status& status :
       {above_zero(request.latent_tokens, "latent_tokens"), above_zero(request.first_decode, "first_decode"),
        above_zero(request.decode_cost, "decode_cost"),
        above_zero(request.first_latent_seconds, "first_latent_seconds"),
        above_zero(request.latent_seconds, "latent_seconds"), CheckLadder(request), CheckPrompts(request),
        CheckMadeBlocks(request), CheckMadeLevels(request)}) {
    if (!status.ok()) return status;
  }
  if (request.chunk_latents < 0) return absl::InvalidArgumentError("chunk_latents must be at least 0");
  return absl::OkStatus();
}

const char* Name(Refusal refusal) {
  switch (refusal) {
    case Refusal::kNone:
      return "none";
    case Refusal::kInvalid:
      return "invalid";
    case Refusal::kStopped:
      return "stopped";
    case Refusal::kNoOffline:
      return "no_offline";
    case Refusal::kTenantLimit:
      return "tenant_limit";
    case Refusal::kQueueFull:
      return "queue_full";
    case Refusal::kLongWait:
      return "long_wait";
    case Refusal::kOwnMaxWait:
      return "own_max_wait";
    case Refusal::kDeadline:
      return "deadline";
  }
  return "unknown";
}

}  // namespace longtake::scheduler
