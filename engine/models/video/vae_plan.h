// What the memory layouts of all VAEs' decoders and encoders have in common, and views of their frames.
//
// A stream's caches are frames that layers keep from one call to the next. For a convolution over time they are a ring
// of its last two input frames: frame f is in slot f % 2, where it replaces frame f - 2. Nothing is read before it was
// written, so caches need no zeroing.
#ifndef LONGTAKE_ENGINE_MODELS_VIDEO_VAE_PLAN_H_
#define LONGTAKE_ENGINE_MODELS_VIDEO_VAE_PLAN_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/models/video/frame_size.h"
#include "engine/ops/ops.h"

namespace longtake {

// Frames that a stream keeps, at the resolution of a stage.
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
  size_t cache_bytes = 0;    // of one stream
  size_t scratch_bytes = 0;  // shared by all streams of this size
};

// Fills `kept` and `cache_bytes` from `stages`; an act element has `element` bytes.
void PlanKept(const std::vector<KeptFrames>& kept, size_t element, VaePlan* plan);

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

// The memory of a kept frame, and the copy of `from` to it. Nothing is copied if there are no caches.
std::byte* KeptFrame(const VaeContext& ctx, int kept, int64_t slot);
void Keep(const VaeContext& ctx, int kept, int64_t slot, ConstMat from);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_VIDEO_VAE_PLAN_H_
