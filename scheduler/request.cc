#include "scheduler/request.h"

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
  for (size_t i = 0; i < request.prompt_blocks.size(); ++i) {
    const int block = request.prompt_blocks[i];
    if (block <= (i == 0 ? 0 : request.prompt_blocks[i - 1]) ||
        block >= static_cast<int>(request.block_latents.size())) {
      return absl::InvalidArgumentError("prompt_blocks must ascend from 1 within the video");
    }
  }
  return absl::OkStatus();
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
        above_zero(request.first_latent_seconds, "first_latent_seconds"),
        above_zero(request.latent_seconds, "latent_seconds"), CheckLadder(request), CheckPrompts(request)}) {
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
