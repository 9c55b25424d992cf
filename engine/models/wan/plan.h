// The memory layout of a Wan VAE at one frame size, computed before any memory is allocated.
//
// A stream's caches are rings: for each convolution over time, its last two input frames. Frame f is stored in slot f %
// 2, where it replaces frame f - 2. Frames before the caches' first frame are passed as null, so caches need no
// zeroing.
#ifndef LONGTAKE_ENGINE_MODELS_WAN_PLAN_H_
#define LONGTAKE_ENGINE_MODELS_WAN_PLAN_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "engine/models/video/frame_size.h"
#include "engine/ops/arena.h"

namespace longtake {

// A ring of frames with `channels` channels at the resolution of a stage.
struct WanRing {
  int stage = 0;
  int64_t channels = 0;
};

struct WanPlan {
  std::vector<FrameSize> stages;  // in the order in which frames run through them
  struct Slot {
    size_t offset = 0;  // of the first of two slots, which are Aligned(bytes) apart
    size_t bytes = 0;   // of a frame
  };
  std::vector<Slot> rings;
  size_t cache_bytes = 0;  // of one stream

  // Scratch offsets for each stage: the frame that runs through it (`x`), and the workspace of its blocks (`n`, `y`).
  std::vector<size_t> x, n, y;
  size_t scratch_bytes = 0;  // shared by all streams of this size
};

// Fills `rings` and `cache_bytes` from `stages`; an element has `element` bytes.
void PlanRings(const std::vector<WanRing>& rings, size_t element, WanPlan* plan);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_WAN_PLAN_H_
