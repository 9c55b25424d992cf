// The memory layout of an LTX-2 decoder or encoder at one frame size, computed before any memory is allocated. Beside
// the rings of convolutions, the caches have frames of residual paths that wait for a convolution that looks ahead.
#ifndef LONGTAKE_ENGINE_MODELS_LTX2_PLAN_H_
#define LONGTAKE_ENGINE_MODELS_LTX2_PLAN_H_

#include <cstddef>
#include <vector>

#include "engine/models/video/vae_plan.h"
#include "engine/ops/arena.h"

namespace longtake {

struct Ltx2Plan : VaePlan {
  // Scratch offsets. For each stage two f32 frames, and for a stage after a doubling of time the second new frame,
  // which waits there until the later stages are done with the first. For all stages together what is re-ordered or
  // emitted (f32) and, of an encoder, the input of a convolution (act) where there are no caches.
  struct Stage {
    size_t x = 0, spare = 0, second = 0;
  };
  std::vector<Stage> scratch;
  size_t act = 0, wide = 0;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_LTX2_PLAN_H_
