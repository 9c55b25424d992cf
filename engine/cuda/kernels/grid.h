// Operations that look at a session's grid of frames, rows and columns. reference/video.cc defines them.
//
// Every output is one thread's sum over its own neighbours in a fixed order: bytes do not depend on the batch.
#ifndef LONGTAKE_ENGINE_CUDA_KERNELS_GRID_H_
#define LONGTAKE_ENGINE_CUDA_KERNELS_GRID_H_

#include <cstdint>

#include "engine/core/tensor.h"
#include "engine/cuda/kernels/segments.h"
#include "engine/cuda/launcher.h"

namespace longtake::cuda {

// Lines of a frame that one thread makes together. Of `height` lines there are LineGroups(height).
constexpr int kLines = 4;
__host__ __device__ constexpr int LineGroups(int height) { return (height + kLines - 1) / kLines; }

// Depthwise 3x3 with bias over x, or SiLU(x), bf16 [N, 2C], then y = a * SiLU(g) of the halves, bf16 [N, C]. Weights
// f32 [9][2C], then bias [2C]. Shares of one line group; a segment's are frames * LineGroups(height).
struct DepthwiseLaunch {
  Rows x;
  int64_t silu = 0;  // not 0: of SiLU(x)
  const float* weight = nullptr;
  const float* bias = nullptr;
  const GridSegment* segments = nullptr;
  const Share* shares = nullptr;
  int64_t share_count = 0;
  MutableRows y;
};
void RunDepthwiseGlu(Launcher& launcher, const DepthwiseLaunch& a);

// The three frames that a temporal convolution sees, side by side: rows of `stride` bf16, of row n
// y[one frame before] | y[n] | y[one frame after] | zeros. Before a segment's first frame stands segment.in, bf16
// [height * width, D], or zeros; behind its last zeros. Shares of kGatherRows rows.
constexpr int kGatherRows = 4;
struct GatherFramesLaunch {
  Rows y;
  const GridSegment* segments = nullptr;
  const Share* shares = nullptr;
  int64_t share_count = 0;
  void* out = nullptr;
  int64_t stride = 0;
};
void RunGatherFrames(Launcher& launcher, const GatherFramesLaunch& a);

// Latents f32 [C, frames * pt, height * ph, width * pw] at segment.in to tokens [N, C * pt * ph * pw] (channel
// slowest); and from tokens f32 (channel fastest) to latents at segment.out. Shares of kPatchRows rows.
constexpr int kPatchRows = 16;
struct PatchLaunch {
  int channels = 0, pt = 1, ph = 1, pw = 1;
  const GridSegment* segments = nullptr;
  const Share* shares = nullptr;
  int64_t share_count = 0;
};
void RunPatchify(Launcher& launcher, const PatchLaunch& a, Mat tokens);
void RunUnpatchify(Launcher& launcher, const PatchLaunch& a, ConstMat tokens);

}  // namespace longtake::cuda

#endif  // LONGTAKE_ENGINE_CUDA_KERNELS_GRID_H_
