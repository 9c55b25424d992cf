// What both convolution kernels do with a thread's finished sums.
#ifndef LONGTAKE_ENGINE_CUDA_KERNELS_CONV_STORE_H_
#define LONGTAKE_ENGINE_CUDA_KERNELS_CONV_STORE_H_

#include "engine/cuda/kernels/conv.h"
#include "engine/cuda/kernels/elements.h"

namespace longtake::cuda {

// Channels channel + 8n and channel + 8n + 1, n < kPairs, of one pixel. `channel` is even.
template <int kPairs>
using ConvPairs = float[kPairs][2];

// f(n, j) for each of these channels that there is. kVector: channels at a time, 2 where rows begin at even places.
template <int kVector, int kPairs, typename F>
__device__ __forceinline__ void EachConvChannel(const ConvLaunch& a, int channel, F&& f) {
#pragma unroll
  for (int n = 0; n < kPairs; ++n) {
#pragma unroll
    for (int j = 0; j < 2; j += kVector) {
      if (channel + 8 * n + j < a.outputs) f(n, j);
    }
  }
}

template <typename T, int kVector, int kPixels, int kPairs, typename P, typename S>
__device__ __forceinline__ void StoreConvAs(const ConvLaunch& a, int channel, const ConvPairs<kPairs>& bias,
                                            P&& pixel_of, S&& sum) {
  const bool relu = a.relu != 0;
  // A pixel's residuals are loaded together, before the pixel in front of it is stored. The compiler moves no load
  // before a store that may overwrite what it reads, and 48 waits of about 600 clocks, one a pair, are half of what the
  // 81 taps of 96 channels take.
  ConvPairs<kPairs> add[2] = {};
  const auto load = [&](int i) {
    const int pixel = pixel_of(i);
    if (a.residual == nullptr || pixel < 0) return;
    const T* from = static_cast<const T*>(a.residual) + int64_t{pixel} * a.outputs + channel;
    EachConvChannel<kVector, kPairs>(a, channel, [&](int n, int j) {
      float v[kVector];
      Load<kVector>(from + 8 * n + j, v);
#pragma unroll
      for (int e = 0; e < kVector; ++e) add[i % 2][n][j + e] = v[e];
    });
  };
  load(0);
#pragma unroll
  for (int i = 0; i < kPixels; ++i) {
    if (i + 1 < kPixels) load(i + 1);
    const int pixel = pixel_of(i);
    if (pixel < 0) continue;
    T* to = static_cast<T*>(a.out) + int64_t{pixel} * a.outputs + channel;
    EachConvChannel<kVector, kPairs>(a, channel, [&](int n, int j) {
      float v[kVector];
#pragma unroll
      for (int e = 0; e < kVector; ++e) {
        v[e] = sum(i, n, j + e) + bias[n][j + e] + add[i % 2][n][j + e];
        if (relu) v[e] = Relu(v[e]);
      }
      Store<kVector>(to + 8 * n + j, v);
    });
  }
}

// Of a thread's pixel i, below 0 where there is none, sum(i, n, j) of channel + 8n + j: then bias, then the residual,
// which may be what is overwritten, then ReLU. Types and biases are settled once for all of them.
template <int kPixels, int kPairs, typename P, typename S>
__device__ __forceinline__ void StoreConv(const ConvLaunch& a, int channel, P&& pixel_of, S&& sum) {
  ConvPairs<kPairs> bias = {};
  EachConvChannel<1, kPairs>(a, channel, [&](int n, int j) { bias[n][j] = a.bias[channel + 8 * n + j]; });
  if (a.outputs % 2 != 0) {
    if (a.wide != 0) {
      StoreConvAs<float, 1, kPixels, kPairs>(a, channel, bias, pixel_of, sum);
    } else {
      StoreConvAs<Bf16, 1, kPixels, kPairs>(a, channel, bias, pixel_of, sum);
    }
  } else if (a.wide != 0) {
    StoreConvAs<float, 2, kPixels, kPairs>(a, channel, bias, pixel_of, sum);
  } else {
    StoreConvAs<Bf16, 2, kPixels, kPairs>(a, channel, bias, pixel_of, sum);
  }
}

}  // namespace longtake::cuda

#endif  // LONGTAKE_ENGINE_CUDA_KERNELS_CONV_STORE_H_
