// The memory layout of a Wan VAE at one frame size, computed before any memory is allocated. Frames before the caches'
// first frame are passed to convolutions as null.
#ifndef LONGTAKE_ENGINE_MODELS_WAN_PLAN_H_
#define LONGTAKE_ENGINE_MODELS_WAN_PLAN_H_

#include <cstddef>
#include <vector>

#include "engine/models/video/vae_plan.h"
#include "engine/ops/arena.h"

namespace longtake {

struct WanPlan : VaePlan {
  // Scratch offsets for each stage: the frame that runs through it (`x`), and the workspace of its blocks (`n`, `y`).
  std::vector<size_t> x, n, y;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_WAN_PLAN_H_
