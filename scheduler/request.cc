#include "scheduler/request.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"

namespace longtake::scheduler {
namespace {

absl::Status AboveZero(double value, const char* field) {
  return value > 0 ? absl::OkStatus() : absl::InvalidArgumentError(absl::StrCat(field, " must be above 0"));
}

absl::Status CheckLadder(const Request& request) {
  if (request.ladder.empty()) return absl::InvalidArgumentError("ladder is empty");
  for (size_t i = 0; i < request.ladder.size(); ++i) {
    const Rung& rung = request.ladder[i];
    if (rung.steps < 1) return absl::InvalidArgumentError("ladder.steps must be at least 1");
    if (rung.rebuild_latents < 0) return absl::InvalidArgumentError("ladder.rebuild_latents must be at least 0");
    RETURN_IF_ERROR(AboveZero(rung.decode_cost, "ladder.decode_cost"));
    RETURN_IF_ERROR(AboveZero(rung.first_decode, "ladder.first_decode"));
    if (i == 0) continue;
    const Rung& above = request.ladder[i - 1];
    const bool less = rung.steps < above.steps || rung.decode_cost < above.decode_cost;
    if (!less || rung.steps > above.steps || rung.decode_cost > above.decode_cost) {
      return absl::InvalidArgumentError("ladder: each must have less to do than the one before");
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
  const int levels = static_cast<int>(request.ladder.size());
  const bool fit = request.made_levels.size() <= request.block_latents.size() &&
                   std::all_of(request.made_levels.begin(), request.made_levels.end(),
                               [levels](int level) { return level >= 0 && level < levels; });
  return fit ? absl::OkStatus() : absl::InvalidArgumentError("made_levels has a level or a block that does not exist");
}

}  // namespace

absl::Status Check(const Request& request) {
  if (request.block_latents.empty()) return absl::InvalidArgumentError("block_latents is empty");
  for (int latents : request.block_latents) {
    if (latents < 1) return absl::InvalidArgumentError("block_latents has a block without latent frames");
  }
  RETURN_IF_ERROR(AboveZero(request.latent_tokens, "latent_tokens"));
  RETURN_IF_ERROR(AboveZero(request.first_latent_seconds, "first_latent_seconds"));
  RETURN_IF_ERROR(AboveZero(request.latent_seconds, "latent_seconds"));
  RETURN_IF_ERROR(CheckLadder(request));
  RETURN_IF_ERROR(CheckPrompts(request));
  RETURN_IF_ERROR(CheckMadeBlocks(request));
  RETURN_IF_ERROR(CheckMadeLevels(request));
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
