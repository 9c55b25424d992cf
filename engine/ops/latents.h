// Conversions between latents, tokens, channels-last frames and pixels.
#ifndef LONGTAKE_ENGINE_OPS_LATENTS_H_
#define LONGTAKE_ENGINE_OPS_LATENTS_H_

#include <array>
#include <cstdint>
#include <span>

#include "engine/ops/family.h"
#include "engine/ops/segment.h"

namespace longtake {

// Converts each segment's latents, f32 [C, frames * pt, height * ph, width * pw], to tokens, act [N, C * pt * ph * pw].
// The channel is the slowest index of a token's columns.
struct PatchifyArgs {
  std::span<const float* const> latents;  // one for each segment
  std::span<const Segment> segments;
  int channels = 0;
  std::array<int, 3> patch = {1, 1, 1};  // pt, ph, pw
  Mat tokens;
};

// Converts tokens, f32 [N, pt * ph * pw * C], to latents as above. The channel is the fastest index of a token's
// columns.
struct UnpatchifyArgs {
  ConstMat tokens;
  std::span<const Segment> segments;
  int channels = 0;
  std::array<int, 3> patch = {1, 1, 1};
  std::span<float* const> latents;  // one for each segment
};

// frame = latents * std + mean, for latent frame `t`: f32 [C, frames, h, w] to act [h * w, C].
struct LatentsToFrameArgs {
  const float* latents = nullptr;
  int64_t frames = 0, t = 0;
  std::span<const float> mean, std;  // [C]
  Mat frame;
};

// The inverse: latents = (frame - mean) / std, of the first C columns of `frame`.
struct FrameToLatentsArgs {
  ConstMat frame;                    // act or f32 [h * w, at least C]
  std::span<const float> mean, std;  // [C]
  int64_t frames = 0, t = 0;
  float* latents = nullptr;
};

// Conversions between a channels-last frame [h * w, 3 * p * p], with columns in the order channel, column in patch, row
// in patch (as in diffusers' unpatchify), and planar f32 [3, h * p, w * p].
struct FrameToPlanarArgs {
  ConstMat frame;  // act or f32
  int height = 0, width = 0, patch = 1;
  float* planar = nullptr;  // clamped to [-1, 1]
};
struct PlanarToFrameArgs {
  const float* planar = nullptr;
  int height = 0, width = 0, patch = 1;
  Mat frame;  // act
};

// Converts as FrameToPlanar does, but to 8-bit 4:2:0, BT.709 limited range. A chroma sample is the mean of its four
// pixels.
struct FrameToI420Args {
  ConstMat frame;  // act or f32 [h * w, 3 * p * p]
  int height = 0, width = 0, patch = 1;
  uint8_t* y = nullptr;  // [h * p, w * p]
  uint8_t* u = nullptr;  // [h * p / 2, w * p / 2], as v
  uint8_t* v = nullptr;
};

class LatentOps : public OperationFamily {
 public:
  using OperationFamily::OperationFamily;
  virtual ~LatentOps() = default;

  void Patchify(const PatchifyArgs& args);
  void Unpatchify(const UnpatchifyArgs& args);
  void LatentsToFrame(const LatentsToFrameArgs& args);
  void FrameToLatents(const FrameToLatentsArgs& args);
  void FrameToPlanar(const FrameToPlanarArgs& args);
  void PlanarToFrame(const PlanarToFrameArgs& args);
  void FrameToI420(const FrameToI420Args& args);

 private:
  virtual void DoPatchify(const PatchifyArgs& args) = 0;
  virtual void DoUnpatchify(const UnpatchifyArgs& args) = 0;
  virtual void DoLatentsToFrame(const LatentsToFrameArgs& args) = 0;
  virtual void DoFrameToLatents(const FrameToLatentsArgs& args) = 0;
  virtual void DoFrameToPlanar(const FrameToPlanarArgs& args) = 0;
  virtual void DoPlanarToFrame(const PlanarToFrameArgs& args) = 0;
  virtual void DoFrameToI420(const FrameToI420Args& args) = 0;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_OPS_LATENTS_H_
