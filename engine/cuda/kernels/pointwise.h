// Operations on single elements, numbers out of nothing, and table look-ups. reference/norms.cc defines them.
//
// An element's result is a function of that element's inputs.
#ifndef LONGTAKE_ENGINE_CUDA_KERNELS_POINTWISE_H_
#define LONGTAKE_ENGINE_CUDA_KERNELS_POINTWISE_H_

#include <cstdint>

#include "engine/core/tensor.h"
#include "engine/cuda/kernels/dense.h"
#include "engine/cuda/kernels/segments.h"
#include "engine/cuda/launcher.h"

namespace longtake::cuda {

// An error where the library has no code for the bound device. All kernels are built for the same devices, so one of
// them is asked.
cudaError_t CheckKernelsLoad();

// y = activation(x), either type on both sides; kNone converts. May be in place where the types are the same.
void RunActivate(Launcher& launcher, ConstMat x, Activation activation, Mat y);
// y[r] = x[r] + row, f32.
void RunAddRow(Launcher& launcher, ConstMat x, const float* row, Mat y);
// y[n] = table[ids[n]] * scale; table bf16 rows of y.cols, y f32; ids on the device.
void RunEmbed(Launcher& launcher, const void* table, const int32_t* ids, float scale, Mat y);
// Rows of cosines, then sines, of t[r] (device) * exp(-ln(10000) i / half).
void RunTimestepSinusoids(Launcher& launcher, const float* t, Mat y);

// Copies of `bytes` each, cut into shares of kCopyBytes; tables on the device.
constexpr int64_t kCopyBytes = 16384;
struct CopyRange {
  const void* from = nullptr;
  void* to = nullptr;
  int64_t bytes = 0;
};
void RunCopyEach(Launcher& launcher, const CopyRange* ranges, const Share* shares, int64_t share_count);

// out = weight[0] x[0] + weight[1] x[1] + ..., in this order; out may be one of the x.
struct CombineTerms {
  static constexpr int kMost = 8;
  int64_t count = 0;
  float weight[kMost] = {};
  const float* x[kMost] = {};
};
void RunCombine(Launcher& launcher, const CombineTerms& terms, int64_t n, float* out);

// core/philox.h's numbers.
void RunFillNormal(Launcher& launcher, uint64_t seed, uint32_t block, uint32_t step, int64_t n, float* out);

}  // namespace longtake::cuda

#endif  // LONGTAKE_ENGINE_CUDA_KERNELS_POINTWISE_H_
