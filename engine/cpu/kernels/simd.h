// Vectors of the instruction set that a kernel source is compiled for. Included only by kernels/*.cc.
//
// LONGTAKE_ISA names the namespace; the compiler's flags determine the width. Everything has internal linkage
// (kernel_table.h explains why).
#ifndef LONGTAKE_ENGINE_CPU_KERNELS_SIMD_H_
#define LONGTAKE_ENGINE_CPU_KERNELS_SIMD_H_

#include <immintrin.h>

#include <cstdint>

#include "engine/cpu/kernels/kernel_table.h"

#define LT_INLINE inline __attribute__((always_inline))

namespace longtake::cpu::LONGTAKE_ISA {
namespace {

struct bf16 {
  uint16_t bits;
};

LT_INLINE float ToFloat(float x) { return x; }
LT_INLINE float ToFloat(bf16 x) {
  const uint32_t bits = uint32_t{x.bits} << 16;
  float f;
  __builtin_memcpy(&f, &bits, 4);
  return f;
}

#if defined(__AVX512F__)

using V = __m512;
constexpr int kLanes = 16;

LT_INLINE V Set(float x) { return _mm512_set1_ps(x); }
LT_INLINE V Zero() { return _mm512_setzero_ps(); }
LT_INLINE V Load(const float* p) { return _mm512_loadu_ps(p); }
LT_INLINE V FromBF16(__m256i x) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(x), 16)); }
LT_INLINE V Load(const bf16* p) { return FromBF16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))); }
LT_INLINE __mmask16 First(int64_t n) { return static_cast<__mmask16>((1u << n) - 1); }
// Loads the first n < kLanes elements; the rest is zero.
LT_INLINE V LoadN(const float* p, int64_t n) { return _mm512_maskz_loadu_ps(First(n), p); }
LT_INLINE V LoadN(const bf16* p, int64_t n) { return FromBF16(_mm256_maskz_loadu_epi16(First(n), p)); }
LT_INLINE void Store(float* p, V x) { _mm512_storeu_ps(p, x); }
LT_INLINE void StoreN(float* p, V x, int64_t n) { _mm512_mask_storeu_ps(p, First(n), x); }
// Converts to bf16, rounding to nearest even.
LT_INLINE __m256i ToBF16(V x) {
#if defined(__AVX512BF16__)
  return (__m256i)_mm512_cvtneps_pbh(x);
#else
  const __m512i bits = _mm512_castps_si512(x);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
  const __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
  rounded = _mm512_mask_or_epi32(rounded, nan, bits, _mm512_set1_epi32(0x400000));
  return _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded, 16));
#endif
}
LT_INLINE void Store(bf16* p, V x) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), ToBF16(x)); }
LT_INLINE void StoreN(bf16* p, V x, int64_t n) { _mm256_mask_storeu_epi16(p, First(n), ToBF16(x)); }
// a * b + c, rounded once.
LT_INLINE V Fma(V a, V b, V c) { return _mm512_fmadd_ps(a, b, c); }
// Max and Min return b if either operand is NaN.
LT_INLINE V Max(V a, V b) { return _mm512_max_ps(a, b); }
LT_INLINE V Min(V a, V b) { return _mm512_min_ps(a, b); }
LT_INLINE V Abs(V a) { return _mm512_abs_ps(a); }
LT_INLINE V Round(V a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
// x < limit ? a : b.
LT_INLINE V Select(V x, V limit, V a, V b) {
  return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(x, limit, _CMP_LT_OQ), b, a);
}
LT_INLINE V SwapPairs(V x) { return _mm512_permute_ps(x, 0xb1); }
// x * 2^n for integers n in [-126, 127].
LT_INLINE V Scale2(V x, V n) { return _mm512_scalef_ps(x, n); }
LT_INLINE float Sum(V x) {
  const __m256 a = _mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
  const __m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  const __m128 c = _mm_add_ps(b, _mm_movehl_ps(b, b));
  return _mm_cvtss_f32(_mm_add_ss(c, _mm_movehdup_ps(c)));
}
LT_INLINE float Largest(V x) { return _mm512_reduce_max_ps(x); }
LT_INLINE V Iota() { return _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15); }

#else

using V = __m256;
constexpr int kLanes = 8;

LT_INLINE V Set(float x) { return _mm256_set1_ps(x); }
LT_INLINE V Zero() { return _mm256_setzero_ps(); }
LT_INLINE V Load(const float* p) { return _mm256_loadu_ps(p); }
LT_INLINE V Load(const bf16* p) {
  return _mm256_castsi256_ps(
      _mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))), 16));
}
LT_INLINE __m256i First(int64_t n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
// Loads the first n < kLanes elements; the rest is zero.
LT_INLINE V LoadN(const float* p, int64_t n) { return _mm256_maskload_ps(p, First(n)); }
LT_INLINE V LoadN(const bf16* p, int64_t n) {
  bf16 padded[kLanes] = {};
  __builtin_memcpy(padded, p, static_cast<size_t>(n) * sizeof(bf16));
  return Load(padded);
}
LT_INLINE void Store(float* p, V x) { _mm256_storeu_ps(p, x); }
LT_INLINE void StoreN(float* p, V x, int64_t n) { _mm256_maskstore_ps(p, First(n), x); }
// Converts to bf16, rounding to nearest even.
LT_INLINE void Store(bf16* p, V x) {
  const __m256i bits = _mm256_castps_si256(x);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
  const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
  const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
  const __m256i high = _mm256_srli_epi32(_mm256_blendv_epi8(rounded, quiet, nan), 16);
  const __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(high, high), 0xd8);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_castsi256_si128(packed));
}
LT_INLINE void StoreN(bf16* p, V x, int64_t n) {
  bf16 padded[kLanes];
  Store(padded, x);
  __builtin_memcpy(p, padded, static_cast<size_t>(n) * sizeof(bf16));
}
// a * b + c, rounded once.
LT_INLINE V Fma(V a, V b, V c) { return _mm256_fmadd_ps(a, b, c); }
// Max and Min return b if either operand is NaN.
LT_INLINE V Max(V a, V b) { return _mm256_max_ps(a, b); }
LT_INLINE V Min(V a, V b) { return _mm256_min_ps(a, b); }
LT_INLINE V Abs(V a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.f), a); }
LT_INLINE V Round(V a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
// x < limit ? a : b.
LT_INLINE V Select(V x, V limit, V a, V b) { return _mm256_blendv_ps(b, a, _mm256_cmp_ps(x, limit, _CMP_LT_OQ)); }
LT_INLINE V SwapPairs(V x) { return _mm256_permute_ps(x, 0xb1); }
// x * 2^n for integers n in [-126, 127].
LT_INLINE V Scale2(V x, V n) {
  const __m256i exponent = _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23);
  return _mm256_mul_ps(x, _mm256_castsi256_ps(exponent));
}
LT_INLINE float Sum(V x) {
  const __m128 b = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  const __m128 c = _mm_add_ps(b, _mm_movehl_ps(b, b));
  return _mm_cvtss_f32(_mm_add_ss(c, _mm_movehdup_ps(c)));
}
LT_INLINE float Largest(V x) {
  const __m128 b = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  const __m128 c = _mm_max_ps(b, _mm_movehl_ps(b, b));
  return _mm_cvtss_f32(_mm_max_ss(c, _mm_movehdup_ps(c)));
}
LT_INLINE V Iota() { return _mm256_setr_ps(0, 1, 2, 3, 4, 5, 6, 7); }

#endif

// Calls f(i, n) for vectors of [0, count). n is kLanes, or less for the last vector.
template <typename F>
LT_INLINE void ForVectors(int64_t count, F&& f) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) f(i, kLanes);
  if (i < count) f(i, static_cast<int>(count - i));
}
template <typename T>
LT_INLINE V LoadUpTo(const T* p, int n) {
  return n == kLanes ? Load(p) : LoadN(p, n);
}
template <typename T>
LT_INLINE void StoreUpTo(T* p, V x, int n) {
  if (n == kLanes) {
    Store(p, x);
  } else {
    StoreN(p, x, n);
  }
}

// Calls f with a null pointer of the element type that `e` names.
template <typename F>
LT_INLINE void WithType(DType e, F&& f) {
  if (e == DType::kF32) {
    f(static_cast<float*>(nullptr));
  } else {
    f(static_cast<bf16*>(nullptr));
  }
}

}  // namespace
}  // namespace longtake::cpu::LONGTAKE_ISA

#endif  // LONGTAKE_ENGINE_CPU_KERNELS_SIMD_H_
