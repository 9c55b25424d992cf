// Operations of SANA-Video 2.0's layers. ops/hybrid.h defines them.
//
// A row, or a head of one, is the work of one block or warp, in an order that its length alone decides.
#ifndef LONGTAKE_ENGINE_CUDA_KERNELS_HYBRID_H_
#define LONGTAKE_ENGINE_CUDA_KERNELS_HYBRID_H_

#include <cstdint>

#include "engine/core/matrix.h"
#include "engine/cuda/kernels/rotary_axes.h"
#include "engine/cuda/kernels/segments.h"
#include "engine/cuda/launcher.h"

namespace longtake::cuda {

// f32 rows of one source.
struct DepthSource {
  const float* data = nullptr;
  int64_t stride = 0;
};
// `sources` on the device, at most kMostDepthSources.
constexpr int kMostDepthSources = 64;
void RunDepthAttention(Launcher& launcher, const DepthSource* sources, int count, const float* weight, float eps,
                       Mat out);

// q and k, normed by their rows' 1/rms and rotated, and v, as bf16. Shares of kRotatedTokens tokens.
constexpr int kRotatedTokens = 4;
struct RotateOnGridLaunch {
  Rows qkv;  // f32 [N, 3D]; pairs of columns aligned
  const float* q_weight = nullptr;
  const float* k_weight = nullptr;
  const float* q_inverse = nullptr;
  const float* k_inverse = nullptr;
  int heads = 0, head_dim = 0;  // head_dim even
  RotaryAxes rotary;
  const GridSegment* segments = nullptr;
  const Share* shares = nullptr;
  int64_t share_count = 0;
  MutableRows out;  // bf16 [N, 3D]
};
void RunRotateOnGrid(Launcher& launcher, const RotateOnGridLaunch& a);

// All bf16. `weight` null: no norm.
void RunGateHeads(Launcher& launcher, ConstMat x, ConstMat gate, const float* weight, float eps, int head_dim, Mat y);

// `mod_row` on the device.
void RunAddBranch(Launcher& launcher, ConstMat x, const float* gate, int64_t gate_stride, const int32_t* mod_row,
                  bool begins, Mat stream, Mat branch);

}  // namespace longtake::cuda

#endif  // LONGTAKE_ENGINE_CUDA_KERNELS_HYBRID_H_
