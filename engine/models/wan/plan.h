// The memory of a Wan VAE at one frame size, laid out before any of it exists.
//
// A session's caches are rings: for each convolution over time, its last two input frames. The one before the last of
// `seen` frames lies in slot `seen % 2`, which is where the next one goes; a null stands for a frame before the
// stream's first, so that caches need no zeroing.
#ifndef LONGTAKE_ENGINE_MODELS_WAN_PLAN_H_
#define LONGTAKE_ENGINE_MODELS_WAN_PLAN_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "engine/ops/arena.h"

namespace longtake {

struct FrameSize {
  int height = 0, width = 0;
  int64_t pixels() const { return int64_t{height} * width; }
};

// What one ring keeps: frames of `channels` at the resolution of a stage.
struct WanRing {
  int stage = 0;
  int64_t channels = 0;
};

struct WanPlan {
  std::vector<FrameSize> stages;  // in the order in which frames pass
  struct Slot {
    size_t offset = 0;  // of the first of two, which are Aligned(bytes) apart
    size_t bytes = 0;   // of a frame
  };
  std::vector<Slot> rings;
  size_t cache_bytes = 0;  // of one stream

  // Scratch: for each stage the frame that goes through it (`x`), and where blocks work (`n`, `y`).
  std::vector<size_t> x, n, y;
  size_t scratch_bytes = 0;  // shared by all sessions of this size or a smaller one
};

// Fills `rings` and `cache_bytes` from `stages`; an element has `element` bytes.
void PlanRings(const std::vector<WanRing>& rings, size_t element, WanPlan* plan);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_WAN_PLAN_H_
