// Elements in registers: a few neighbours of a row at a time, as float32. For kernels.
#ifndef LONGTAKE_ENGINE_CUDA_KERNELS_ELEMENTS_H_
#define LONGTAKE_ENGINE_CUDA_KERNELS_ELEMENTS_H_

#include "engine/cuda/warp.h"

namespace longtake::cuda {

// kVector is 1, 2 or 4. `p` is aligned to as many elements.
template <int kVector>
__device__ __forceinline__ void Load(const float* p, float (&v)[kVector]) {
  if constexpr (kVector == 4) {
    const float4 x = *reinterpret_cast<const float4*>(p);
    v[0] = x.x, v[1] = x.y, v[2] = x.z, v[3] = x.w;
  } else if constexpr (kVector == 2) {
    const float2 x = *reinterpret_cast<const float2*>(p);
    v[0] = x.x, v[1] = x.y;
  } else {
    v[0] = *p;
  }
}

template <int kVector>
__device__ __forceinline__ void Load(const Bf16* p, float (&v)[kVector]) {
  if constexpr (kVector == 4) {
    const uint2 x = *reinterpret_cast<const uint2*>(p);
    v[0] = LowFloat(x.x), v[1] = HighFloat(x.x), v[2] = LowFloat(x.y), v[3] = HighFloat(x.y);
  } else if constexpr (kVector == 2) {
    const uint32_t x = *reinterpret_cast<const uint32_t*>(p);
    v[0] = LowFloat(x), v[1] = HighFloat(x);
  } else {
    v[0] = ToFloat(*p);
  }
}

template <int kVector>
__device__ __forceinline__ void Store(float* p, const float (&v)[kVector]) {
  if constexpr (kVector == 4) {
    *reinterpret_cast<float4*>(p) = make_float4(v[0], v[1], v[2], v[3]);
  } else if constexpr (kVector == 2) {
    *reinterpret_cast<float2*>(p) = make_float2(v[0], v[1]);
  } else {
    *p = v[0];
  }
}

template <int kVector>
__device__ __forceinline__ void Store(Bf16* p, const float (&v)[kVector]) {
  if constexpr (kVector == 4) {
    *reinterpret_cast<uint2*>(p) = make_uint2(PackBf16(v[0], v[1]), PackBf16(v[2], v[3]));
  } else if constexpr (kVector == 2) {
    *reinterpret_cast<uint32_t*>(p) = PackBf16(v[0], v[1]);
  } else {
    *p = ToBf16(v[0]);
  }
}

template <int kVector, typename T>
__device__ __forceinline__ void LoadOrZero(const T* p, bool valid, float (&v)[kVector]) {
  if (valid) {
    Load<kVector>(p, v);
  } else {
#pragma unroll
    for (int i = 0; i < kVector; ++i) v[i] = 0.f;
  }
}

__device__ __forceinline__ float Relu(float x) { return x < 0.f ? 0.f : x; }

__device__ __forceinline__ float Silu(float x) { return x / (1.f + __expf(-x)); }
__device__ __forceinline__ float Sigmoid(float x) { return 1.f / (1.f + __expf(-x)); }

__device__ __forceinline__ float GeluTanh(float x) {
  return 0.5f * x * (1.f + tanhf(0.7978845608f * (x + 0.044715f * x * x * x)));
}

}  // namespace longtake::cuda

#endif  // LONGTAKE_ENGINE_CUDA_KERNELS_ELEMENTS_H_
