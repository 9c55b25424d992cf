// A session's position, without the bytes of its memory: plain numbers that mean the same on every device.
#ifndef LONGTAKE_ENGINE_RUNTIME_SESSION_POSITION_H_
#define LONGTAKE_ENGINE_RUNTIME_SESSION_POSITION_H_

#include <cstdint>
#include <span>

#include "absl/status/status.h"

namespace longtake {

struct PromptTokens {
  int64_t positive = 0, negative = 0;
};

struct SessionPosition {
  int block = 0, step = 0;
  int level = 0;        // of the block being made; selects its number of steps
  int first_frame = 0;  // first latent frame of the block being made: the number of committed ones
  int decoded = 0;      // latent frames that have been decoded
  int caches_from = 0;  // first latent frame that the decoder's caches contain

  // Indices of latent buffers. A commit swaps them instead of copying.
  int working = 0, finished = 1;

  int prompt_slot = 1;  // in use; the next prompt is written to the other
  PromptTokens prompt, next_prompt;
  bool has_prompt = false, prompt_waits = false;
  int prompt_from = 0;  // first block that uses the waiting prompt
};

// Whether the block being made, begun anew, reads the prompt in use. It does not if it switches to a waiting prompt.
bool ReadsPrompt(const SessionPosition& at);

// What the positions of a session may be.
struct PositionLimits {
  std::span<const int> lengths;  // of its blocks, in latent frames
  int64_t caption_tokens = 0;    // of a prompt, at most
  bool guided = false;           // every prompt has a negative one
};

// Computes the fields of the position that a checkpoint does not store. DataLoss: a session with these limits cannot
// have this position.
absl::Status CompletePosition(const PositionLimits& limits, SessionPosition* at);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_RUNTIME_SESSION_POSITION_H_
