// What both convolution kernels do with a finished sum.
#ifndef LONGTAKE_ENGINE_CUDA_KERNELS_CONV_STORE_H_
#define LONGTAKE_ENGINE_CUDA_KERNELS_CONV_STORE_H_

#include "engine/cuda/kernels/conv.h"
#include "engine/cuda/kernels/elements.h"

namespace longtake::cuda {

// Sums of channels `channel` and `channel + 1` (even, inside the output) of one pixel, then bias, then the residual,
// which may be what is overwritten, then ReLU.
template <typename T>
__device__ __forceinline__ void StoreConvPair(const ConvLaunch& a, int pixel, int channel, float first, float second) {
  const int64_t at = int64_t{pixel} * a.outputs + channel;
  T* out = static_cast<T*>(a.out) + at;
  const T* residual = a.residual == nullptr ? nullptr : static_cast<const T*>(a.residual) + at;
  if (a.outputs % 2 == 0) {
    float v[2] = {first + a.bias[channel], second + a.bias[channel + 1]}, add[2];
    LoadOrZero<2>(residual, residual != nullptr, add);
    v[0] += add[0];
    v[1] += add[1];
    if (a.relu != 0) {
      v[0] = Relu(v[0]);
      v[1] = Relu(v[1]);
    }
    Store<2>(out, v);
    return;
  }
  for (int j = 0; j < 2 && channel + j < a.outputs; ++j) {
    float v[1] = {(j == 0 ? first : second) + a.bias[channel + j]}, add[1];
    LoadOrZero<1>(residual + j, residual != nullptr, add);
    v[0] += add[0];
    if (a.relu != 0) v[0] = Relu(v[0]);
    Store<1>(out + j, v);
  }
}

}  // namespace longtake::cuda

#endif  // LONGTAKE_ENGINE_CUDA_KERNELS_CONV_STORE_H_
