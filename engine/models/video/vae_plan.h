// What the memory layouts of all VAEs' decoders and encoders have in common, and views of their frames.
//
// A stream's caches are frames that layers keep from one call to the next. For a convolution over time they are its
// last inputs (Ring). Nothing is read before it was written, so caches need no zeroing.
#ifndef LONGTAKE_ENGINE_MODELS_VIDEO_VAE_PLAN_H_
#define LONGTAKE_ENGINE_MODELS_VIDEO_VAE_PLAN_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/models/video/frame_size.h"
#include "engine/ops/ops.h"

namespace longtake {

// The inputs of a convolution over time, act, at the resolution of a stage. The convolution reads frame t, which is
// being made, and the two before it, so the layer in front of it writes frame t into the caches and nothing is copied.
//
// The R rings of a stage with the same channels share 2R + 1 slots: two frames of each, and one in which the next frame
// is made. Write number u = step * R + r, where ring r is the r-th to run, goes to slot u % (2R + 1). What it replaces
// is write u - 2R - 1: of ring r - 1 the frame that this ring's convolution has just read for the last time, and for r
// = 0 a frame of the last ring that is older still.
struct RingShape {
  int stage = 0;
  int64_t channels = 0;
  // It takes frames at another pace than its stage's other rings, so it has its slots to itself.
  bool alone = false;
};

// Other frames that a stream keeps, at the resolution of a stage.
struct KeptFrames {
  int stage = 0;
  int64_t channels = 0;
  int frames = 2;
  bool wide = false;  // f32, else act
};

// Computed for one frame size before any memory is allocated.
struct VaePlan {
  std::vector<FrameSize> stages;  // in the order in which frames run through them
  struct Slot {
    size_t offset = 0;  // of the first frame; the others are Aligned(bytes) apart
    size_t bytes = 0;   // of a frame
  };
  std::vector<Slot> kept;
  struct Ring {
    size_t offset = 0;              // of its group's slots
    size_t bytes = 0;               // between two of them
    int64_t number = 0, rings = 0;  // r and R of RingShape
  };
  std::vector<Ring> rings;
  // Convolutions give frame t when they take t + 1, so each ring of a stage is a step behind the one before it.
  bool looks_ahead = false;
  size_t cache_bytes = 0;    // of one stream
  size_t scratch_bytes = 0;  // shared by all streams of this size
};

// What the layers of one half of a VAE keep.
struct Kept {
  std::vector<RingShape> rings;
  std::vector<KeptFrames> frames;
};

// Fills `rings`, `kept` and `cache_bytes` from `stages`; an act element has `element` bytes.
void PlanKept(const Kept& kept, size_t element, VaePlan* plan);

// The plan and memory of one call. `caches` may be null if no frame follows this one, where layers are causal.
struct VaeContext {
  Ops* ops;
  const VaePlan* plan;
  std::byte* caches;
};

// Views of a stage's frame. Inputs of convolutions have the activation type; sums between and inside blocks are f32. In
// bf16 this reduced the error of the Wan VAE from 0.83 to 0.58 of torch's (median of 58 random cases), for 177 MB more
// scratch at 480p.
Mat ActFrame(const VaeContext& ctx, std::byte* frame, int stage, int64_t channels);
Mat FloatFrame(const VaeContext& ctx, std::byte* frame, int stage, int64_t channels);

// A convolution of 3x3 in space with a border of one pixel, from frames of one size to a frame of the same size or,
// with `upsample`, of a larger one. What else it does is the caller's to set.
ConvArgs Conv3x3(const PackedKernel& kernel, const FrameSize& from, std::span<const ConstMat> in, const FrameSize& to,
                 const Mat& out);

// The memory of frame t of a ring; `spare` if there are no caches.
std::byte* RingFrame(const VaeContext& ctx, int ring, int64_t t, std::byte* spare);

// The memory of a kept frame, and the copy of `from` to it. Nothing is copied if there are no caches.
std::byte* KeptFrame(const VaeContext& ctx, int kept, int64_t slot);
void Keep(const VaeContext& ctx, int kept, int64_t slot, ConstMat from);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_VIDEO_VAE_PLAN_H_
