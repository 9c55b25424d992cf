// The memory layout of an LTX-2 decoder or encoder at one frame size, computed before any memory is allocated.
//
// A stream's caches are, for each convolution, a ring of its last two input frames (frame f is in slot f % 2, where it
// replaces frame f - 2), and frames of residual paths that wait for a convolution that looks ahead. Nothing is read
// before it was written, so caches need no zeroing.
#ifndef LONGTAKE_ENGINE_MODELS_LTX2_PLAN_H_
#define LONGTAKE_ENGINE_MODELS_LTX2_PLAN_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "engine/models/video/frame_size.h"
#include "engine/ops/arena.h"

namespace longtake {

// Frames that a stream keeps, at the resolution of a stage.
struct Ltx2Kept {
  int stage = 0;
  int64_t channels = 0;
  int frames = 0;
  bool wide = false;  // f32, else act
};

struct Ltx2Plan {
  std::vector<FrameSize> stages;  // in the order in which frames run through them
  struct Slot {
    size_t offset = 0;  // of the first frame; the others are Aligned(bytes) apart
    size_t bytes = 0;   // of a frame
  };
  std::vector<Slot> kept;
  size_t cache_bytes = 0;  // of one stream

  // Scratch offsets. For each stage two f32 frames, and for a stage after a doubling of time the second new frame,
  // which waits there until the later stages are done with the first. For all stages together the input of a
  // convolution (act), and what is re-ordered or emitted (f32).
  struct Stage {
    size_t x = 0, spare = 0, second = 0;
  };
  std::vector<Stage> scratch;
  size_t act = 0, wide = 0;
  size_t scratch_bytes = 0;  // shared by all streams of this size
};

// Fills `kept` and `cache_bytes` from `stages`; an act element has `element` bytes.
void PlanKept(const std::vector<Ltx2Kept>& kept, size_t element, Ltx2Plan* plan);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_LTX2_PLAN_H_
