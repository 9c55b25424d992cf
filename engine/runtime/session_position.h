// Where a session stands, apart from the bytes of its memory. Plain numbers, the same on every device.
#ifndef LONGTAKE_ENGINE_RUNTIME_SESSION_POSITION_H_
#define LONGTAKE_ENGINE_RUNTIME_SESSION_POSITION_H_

#include <cstdint>

namespace longtake {

struct PromptTokens {
  int64_t positive = 0, negative = 0;
};

struct SessionPosition {
  int block = 0, step = 0;
  int level = 0;        // of the block's steps
  int first_frame = 0;  // latent frames before the block being made: the committed ones
  int decoded = 0;      // latent frames, which have gone through the decoder's caches
  int caches_from = 0;  // the latent frame with which those caches begin

  // Indices of latent buffers, swapped rather than copied.
  int working = 0, finished = 1;

  int prompt_slot = 1;  // in use; the other is for the next
  PromptTokens prompt, next_prompt;
  bool has_prompt = false, prompt_waits = false;
  int prompt_from = 0;  // block that takes up the one that waits
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_RUNTIME_SESSION_POSITION_H_
