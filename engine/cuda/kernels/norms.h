// Norms over rows. reference/norms.cc and reference/video.cc (ChannelNorm) define them.
//
// A row is the work of one block, or of one warp, in an order that its length alone decides: what stands beside it, and
// how many rows there are, changes no byte.
#ifndef LONGTAKE_ENGINE_CUDA_KERNELS_NORMS_H_
#define LONGTAKE_ENGINE_CUDA_KERNELS_NORMS_H_

#include <cstdint>

#include "engine/core/tensor.h"
#include "engine/cuda/launcher.h"

namespace longtake::cuda {

// y = LayerNorm(x) * (1 + scale[mod_row]) + shift[mod_row]; x f32, y bf16. mod_row on the device; scale null: the plain
// norm.
struct Modulation {
  const float* shift = nullptr;
  const float* scale = nullptr;
  int64_t stride = 0;
  const int32_t* mod_row = nullptr;
};
void RunLayerNorm(Launcher& launcher, ConstMat x, float eps, const Modulation& modulation, Mat y);

// y = x / rms(x) * (weight + offset), or y += that.
void RunRmsNorm(Launcher& launcher, ConstMat x, const float* weight, float offset, float eps, bool residual, Mat y);

// out[r] = 1 / rms(x[r]).
void RunInverseRms(Launcher& launcher, ConstMat x, float eps, float* out);

// y = x / sqrt(|x|^2 + columns * eps) * sqrt(columns) * gamma (null: ones), then SiLU where asked. May be in place
// where the types are the same.
void RunChannelNorm(Launcher& launcher, ConstMat x, const float* gamma, float eps, bool silu, Mat y);

}  // namespace longtake::cuda

#endif  // LONGTAKE_ENGINE_CUDA_KERNELS_NORMS_H_
