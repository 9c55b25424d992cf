// The register tile of every matrix product. Included only by kernels/*.cc.
#ifndef LONGTAKE_ENGINE_CPU_KERNELS_TILE_H_
#define LONGTAKE_ENGINE_CPU_KERNELS_TILE_H_

#include "engine/cpu/kernels/simd.h"

namespace longtake::cpu::LONGTAKE_ISA {
namespace {

// One multiply-add takes kStep inputs of a row and kStep packed weights of each column.
struct F32Product {
  using T = float;
  static constexpr int kStep = 1;
  static LT_INLINE V Broadcast(const T* p) { return Set(*p); }
  static LT_INLINE V LoadB(const T* p) { return Load(p); }
  static LT_INLINE V Step(V acc, V a, V b) { return Fma(a, b, acc); }
};

#if defined(__AVX512F__)
// What takes as many inputs as four bytes hold, which stand together in rows and in packed weights.
template <typename Input>
struct FourBytes {
  using T = Input;
  static constexpr int kStep = 4 / sizeof(T);
  static LT_INLINE V Broadcast(const T* p) {
    int four;
    __builtin_memcpy(&four, p, 4);
    return _mm512_castsi512_ps(_mm512_set1_epi32(four));
  }
  static LT_INLINE V LoadB(const T* p) { return _mm512_loadu_ps(p); }
};
#endif

#if defined(__AVX512BF16__)
struct BF16Product : FourBytes<bf16> {
  // Broadcasts the last input of a row with an odd number of them. The value after it is replaced by 0, because it may
  // be NaN.
  static LT_INLINE V BroadcastLast(const T* p) { return _mm512_castsi512_ps(_mm512_set1_epi32(p->bits)); }
  static LT_INLINE V Step(V acc, V a, V b) { return _mm512_dpbf16_ps(acc, (__m512bh)a, (__m512bh)b); }
};
#endif

#if defined(__AVX512VNNI__)
// Unsigned bytes of rows times signed bytes of weights, summed exactly in 32-bit integers, which V and c only carry.
struct Int8Product : FourBytes<uint8_t> {
  static LT_INLINE V Step(V acc, V a, V b) {
    return _mm512_castsi512_ps(
        _mm512_dpbusd_epi32(_mm512_castps_si512(acc), _mm512_castps_si512(a), _mm512_castps_si512(b)));
  }
};
#endif

// c[r][n] (+)= sum over taps and k. Each element is one chain of multiply-adds over (tap, k) in ascending order that
// starts at zero or at the value in c. The chain is the same for any MR and NV, and storing it between two calls does
// not round. For this reason a row's bytes depend neither on other rows nor on how work is divided into tiles.
//
// The tile sizes follow from latency and registers. Two multiply-adds a cycle with a latency of 4 to 6 cycles need 8 to
// 12 independent chains. 24 accumulators of 32 registers leave room for NV weights and a broadcast. A 6 x 4 tile loads
// 10 vectors for 24 multiply-adds, less than two loads a cycle.
template <typename P, int MR, int NV>
void Tile(const void* const* a, int64_t a_stride, int taps, int64_t k, const void* b, int64_t b_tap_bytes, float* c,
          int64_t c_stride, bool load) {
  using T = typename P::T;
  constexpr int kColumns = NV * kLanes;
  V acc[MR][NV];
  for (int r = 0; r < MR; ++r) {
    for (int v = 0; v < NV; ++v) acc[r][v] = load ? Load(c + r * c_stride + v * kLanes) : Zero();
  }
  for (int tap = 0; tap < taps; ++tap) {
    const T* row[MR];
#pragma GCC unroll 16
    for (int r = 0; r < MR; ++r) row[r] = static_cast<const T*>(a[tap * a_stride + r]);
    const T* weights = reinterpret_cast<const T*>(static_cast<const char*>(b) + tap * b_tap_bytes);
    const int64_t whole = k / P::kStep * P::kStep;
#pragma GCC unroll 1
    for (int64_t i = 0; i < whole; i += P::kStep) {
      V w[NV];
#pragma GCC unroll 4
      for (int v = 0; v < NV; ++v) w[v] = P::LoadB(weights + v * kLanes * P::kStep);
#pragma GCC unroll 16
      for (int r = 0; r < MR; ++r) {
        const V x = P::Broadcast(row[r] + i);
#pragma GCC unroll 4
        for (int v = 0; v < NV; ++v) acc[r][v] = P::Step(acc[r][v], x, w[v]);
      }
      weights += kColumns * P::kStep;
    }
    if constexpr (P::kStep == 2) {
      if (k % 2 != 0) {
        for (int r = 0; r < MR; ++r) {
          const V x = P::BroadcastLast(row[r] + whole);
          for (int v = 0; v < NV; ++v) acc[r][v] = P::Step(acc[r][v], x, P::LoadB(weights + v * kLanes * P::kStep));
        }
      }
    }
  }
  for (int r = 0; r < MR; ++r) {
    for (int v = 0; v < NV; ++v) Store(c + r * c_stride + v * kLanes, acc[r][v]);
  }
}

using TileFunction = void (*)(const void* const* a, int64_t a_stride, int taps, int64_t k, const void* b,
                              int64_t b_tap_bytes, float* c, int64_t c_stride, bool load);

// Rows of the tile for a panel of NV vectors: at most 24 accumulators with 32 registers, 12 with 16.
#if defined(__AVX512F__)
constexpr int kTileRows[kMaxPanelVectors + 1] = {0, 12, 12, 8, 6};
constexpr int kPanelVectors = 4;
#else
constexpr int kTileRows[kMaxPanelVectors + 1] = {0, 6, 6, 0, 0};
constexpr int kPanelVectors = 2;
#endif
constexpr int kMaxTileRows = 12;

template <typename P, int NV>
TileFunction TileOfRows(int rows) {
  constexpr int kRows = kTileRows[NV];
  if constexpr (kRows >= 8) {
    switch (rows) {
      case 8:
        return Tile<P, 8, NV>;
      case 7:
        return Tile<P, 7, NV>;
      default:
        break;
    }
  }
  if constexpr (kRows >= 12) {
    switch (rows) {
      case 12:
        return Tile<P, 12, NV>;
      case 11:
        return Tile<P, 11, NV>;
      case 10:
        return Tile<P, 10, NV>;
      case 9:
        return Tile<P, 9, NV>;
      default:
        break;
    }
  }
  switch (rows) {
    case 6:
      return Tile<P, 6, NV>;
    case 5:
      return Tile<P, 5, NV>;
    case 4:
      return Tile<P, 4, NV>;
    case 3:
      return Tile<P, 3, NV>;
    case 2:
      return Tile<P, 2, NV>;
    default:
      return Tile<P, 1, NV>;
  }
}

// Returns the tile for `rows` <= kTileRows[vectors] rows and a panel of `vectors` vectors.
template <typename P>
TileFunction FindTile(int rows, int vectors) {
#if defined(__AVX512F__)
  if (vectors == 4) return TileOfRows<P, 4>(rows);
  if (vectors == 3) return TileOfRows<P, 3>(rows);
#endif
  return vectors == 2 ? TileOfRows<P, 2>(rows) : TileOfRows<P, 1>(rows);
}

}  // namespace
}  // namespace longtake::cpu::LONGTAKE_ISA

#endif  // LONGTAKE_ENGINE_CPU_KERNELS_TILE_H_
