// Elements in registers: a few neighbours of a row at a time, as float32. For kernels.
#ifndef LONGTAKE_ENGINE_CUDA_KERNELS_ELEMENTS_H_
#define LONGTAKE_ENGINE_CUDA_KERNELS_ELEMENTS_H_

#include "engine/cuda/kernels/segments.h"
#include "engine/cuda/warp.h"

namespace longtake::cuda {

template <typename T>
__device__ __forceinline__ const T* RowAt(const Rows& m, int64_t row) {
  return static_cast<const T*>(m.data) + row * m.stride;
}
template <typename T>
__device__ __forceinline__ T* RowAt(const MutableRows& m, int64_t row) {
  return static_cast<T*>(m.data) + row * m.stride;
}

// kVector is 1, 2, 4 or 8. `p` is aligned to as many elements, and no further than to 16 bytes.
template <int kVector>
__device__ __forceinline__ void Load(const float* p, float (&v)[kVector]) {
  if constexpr (kVector >= 4) {
#pragma unroll
    for (int i = 0; i < kVector; i += 4) {
      const float4 x = *reinterpret_cast<const float4*>(p + i);
      v[i] = x.x, v[i + 1] = x.y, v[i + 2] = x.z, v[i + 3] = x.w;
    }
  } else if constexpr (kVector == 2) {
    const float2 x = *reinterpret_cast<const float2*>(p);
    v[0] = x.x, v[1] = x.y;
  } else {
    v[0] = *p;
  }
}

template <int kVector>
__device__ __forceinline__ void Load(const Bf16* p, float (&v)[kVector]) {
  if constexpr (kVector == 8) {
    const uint4 x = *reinterpret_cast<const uint4*>(p);
    v[0] = LowFloat(x.x), v[1] = HighFloat(x.x), v[2] = LowFloat(x.y), v[3] = HighFloat(x.y);
    v[4] = LowFloat(x.z), v[5] = HighFloat(x.z), v[6] = LowFloat(x.w), v[7] = HighFloat(x.w);
  } else if constexpr (kVector == 4) {
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
  if constexpr (kVector >= 4) {
#pragma unroll
    for (int i = 0; i < kVector; i += 4) {
      *reinterpret_cast<float4*>(p + i) = make_float4(v[i], v[i + 1], v[i + 2], v[i + 3]);
    }
  } else if constexpr (kVector == 2) {
    *reinterpret_cast<float2*>(p) = make_float2(v[0], v[1]);
  } else {
    *p = v[0];
  }
}

template <int kVector>
__device__ __forceinline__ void Store(Bf16* p, const float (&v)[kVector]) {
  if constexpr (kVector == 8) {
    *reinterpret_cast<uint4*>(p) =
        make_uint4(PackBf16(v[0], v[1]), PackBf16(v[2], v[3]), PackBf16(v[4], v[5]), PackBf16(v[6], v[7]));
  } else if constexpr (kVector == 4) {
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

// A few units of float32's last place from the quotients, in 5 instructions in place of about 16.
__device__ __forceinline__ float Silu(float x) { return __fdividef(x, 1.f + FastExp2(x * -1.4426950408889634f)); }
__device__ __forceinline__ float Sigmoid(float x) { return __fdividef(1.f, 1.f + FastExp2(x * -1.4426950408889634f)); }

// By one special function instead of two: x / 2 + x / 2 * tanh(x / 2). Off by at most |x| / 4096, an eighth of what x
// is off by when it is rounded to bf16.
__device__ __forceinline__ float FastSilu(float x) {
  const float half = 0.5f * x;
  return half * FastTanh(half) + half;
}

__device__ __forceinline__ float GeluTanh(float x) {
  return 0.5f * x * (1.f + tanhf(0.7978845608f * (x + 0.044715f * x * x * x)));
}

}  // namespace longtake::cuda

#endif  // LONGTAKE_ENGINE_CUDA_KERNELS_ELEMENTS_H_
