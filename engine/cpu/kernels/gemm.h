// Computes a GemmBlock by register tiles and applies its epilogue. Included only by kernels/*.cc.
#ifndef LONGTAKE_ENGINE_CPU_KERNELS_GEMM_H_
#define LONGTAKE_ENGINE_CPU_KERNELS_GEMM_H_

#include "engine/cpu/kernels/tile.h"
#include "engine/cpu/kernels/vector_math.h"

namespace longtake::cpu::LONGTAKE_ISA {
namespace {

// Applies the epilogue to rows [first, first + rows) of the block and stores them; `acc` holds their sums.
template <typename Out, Activation kActivation>
void StoreRows(const GemmBlock& g, int first, int rows, const float* acc, int64_t acc_stride) {
  for (int r = 0; r < rows; ++r) {
    const float* from = acc + r * acc_stride;
    Out* out = static_cast<Out*>(g.out[first + r]) + g.first_column;
    const void* add = g.add == nullptr ? nullptr : g.add[first + r];
    const float* gate = g.gate == nullptr ? nullptr : g.gate[first + r] + g.first_column;
    ForVectors(g.columns, [&](int64_t i, int n) {
      V x = Load(from + i) + Load(g.bias + i);
      if (add != nullptr) {
        x = x + (g.add_type == DType::kF32 ? LoadUpTo(static_cast<const float*>(add) + g.first_column + i, n)
                                           : LoadUpTo(static_cast<const bf16*>(add) + g.first_column + i, n));
      }
      x = Apply(kActivation, x);
      if (g.accumulate) {
        const V old = LoadUpTo(out + i, n);
        x = gate == nullptr ? old + x : Fma(x, LoadUpTo(gate + i, n), old);
      } else if (gate != nullptr) {
        x = x * LoadUpTo(gate + i, n);
      }
      StoreUpTo(out + i, x, n);
    });
  }
}

// The same for a gated panel: the left half is the gate, the right half is up.
template <typename Out, Activation kActivation>
void StoreGatedRows(const GemmBlock& g, int first, int rows, const float* acc, int64_t acc_stride) {
  for (int r = 0; r < rows; ++r) {
    const float* gate = acc + r * acc_stride;
    const float* up = gate + acc_stride / 2;
    Out* out = static_cast<Out*>(g.out[first + r]) + g.first_column;
    ForVectors(g.columns,
               [&](int64_t i, int n) { StoreUpTo(out + i, Apply(kActivation, Load(gate + i)) * Load(up + i), n); });
  }
}

template <typename Out>
void StoreRowsAs(const GemmBlock& g, int first, int rows, const float* acc, int64_t acc_stride) {
  if (g.gated) {
    switch (g.activation) {
      case Activation::kNone:
        return StoreGatedRows<Out, Activation::kNone>(g, first, rows, acc, acc_stride);
      case Activation::kSilu:
        return StoreGatedRows<Out, Activation::kSilu>(g, first, rows, acc, acc_stride);
      case Activation::kGeluTanh:
        return StoreGatedRows<Out, Activation::kGeluTanh>(g, first, rows, acc, acc_stride);
      case Activation::kSigmoid:
        return StoreGatedRows<Out, Activation::kSigmoid>(g, first, rows, acc, acc_stride);
      case Activation::kRelu:
        return StoreGatedRows<Out, Activation::kRelu>(g, first, rows, acc, acc_stride);
      case Activation::kSoftClamp:
        return StoreGatedRows<Out, Activation::kSoftClamp>(g, first, rows, acc, acc_stride);
    }
  }
  switch (g.activation) {
    case Activation::kNone:
      return StoreRows<Out, Activation::kNone>(g, first, rows, acc, acc_stride);
    case Activation::kSilu:
      return StoreRows<Out, Activation::kSilu>(g, first, rows, acc, acc_stride);
    case Activation::kGeluTanh:
      return StoreRows<Out, Activation::kGeluTanh>(g, first, rows, acc, acc_stride);
    case Activation::kSigmoid:
      return StoreRows<Out, Activation::kSigmoid>(g, first, rows, acc, acc_stride);
    case Activation::kRelu:
      return StoreRows<Out, Activation::kRelu>(g, first, rows, acc, acc_stride);
    case Activation::kSoftClamp:
      return StoreRows<Out, Activation::kSoftClamp>(g, first, rows, acc, acc_stride);
  }
}

LT_INLINE void Finish(const GemmBlock& g, int first, int rows, const float* acc, int64_t acc_stride) {
  if (g.out_type == DType::kF32) {
    StoreRowsAs<float>(g, first, rows, acc, acc_stride);
  } else {
    StoreRowsAs<bf16>(g, first, rows, acc, acc_stride);
  }
}

// Adds the low-rank terms to the sums of rows [first, first + rows) of the block. The sum over a term's rank continues
// that of the row, whichever other rows the tile has.
template <typename P>
LT_INLINE void AddLowRank(const GemmBlock& g, int first, int rows, float* acc, int64_t acc_stride) {
  const int64_t begin = g.first_row + first;
  for (int64_t i = 0; i < g.low_rank_count; ++i) {
    const LowRankRows& term = g.low_rank[i];
    if (g.first_column >= term.first_column + term.columns || g.first_column + g.columns <= term.first_column) continue;
    const int64_t last = term.first_row + term.rows, end = last < begin + rows ? last : begin + rows;
    int64_t row = term.first_row > begin ? term.first_row : begin;
    while (row < end) {
      const int n = static_cast<int>(end - row < kTileRows[g.vectors] ? end - row : kTileRows[g.vectors]);
      const void* t[kMaxTileRows];
      for (int r = 0; r < n; ++r) t[r] = term.t + (row - term.first_row + r) * term.t_row_bytes;
      FindTile<P>(n, g.vectors)(t, 0, 1, term.rank, term.b + g.first_column * term.b_column_bytes, 0,
                                acc + (row - begin) * acc_stride, acc_stride, true);
      row += n;
    }
  }
}

// Low-rank terms, which have a type of their own only in int8 products, and the epilogue.
template <typename P>
LT_INLINE void FinishSums(const GemmBlock& g, int first, int rows, float* acc, int64_t acc_stride) {
  AddLowRank<P>(g, first, rows, acc, acc_stride);
  Finish(g, first, rows, acc, acc_stride);
}

#if defined(__AVX512VNNI__)
template <>
LT_INLINE void FinishSums<Int8Product>(const GemmBlock& g, int first, int rows, float* acc, int64_t acc_stride) {
  for (int r = 0; r < rows; ++r) {
    float* sums = acc + r * acc_stride;
    const V row_scale = Set(g.row_scales[g.first_row + first + r]);
    for (int64_t i = 0; i < acc_stride; i += kLanes) {
      const __m512i sum = _mm512_castps_si512(Load(sums + i));
      const __m512i offset = _mm512_loadu_si512(g.column_offsets + i);
      Store(sums + i, _mm512_cvtepi32_ps(_mm512_add_epi32(sum, offset)) * Load(g.column_scales + i) * row_scale);
    }
  }
#if defined(__AVX512BF16__)
  if (g.low_rank_type == DType::kBF16) return FinishSums<BF16Product>(g, first, rows, acc, acc_stride);
#endif
  FinishSums<F32Product>(g, first, rows, acc, acc_stride);
}
#endif

template <typename P>
void Gemm(const GemmBlock& g) {
  const int columns = g.vectors * kLanes;
  const int tile_rows = kTileRows[g.vectors];
  alignas(64) float tile[kMaxTileRows * kMaxPanelVectors * kLanes];
  for (int tap = 0; tap < g.taps; tap += g.chunk_taps) {
    const int taps = g.taps - tap < g.chunk_taps ? g.taps - tap : g.chunk_taps;
    const bool last = tap + taps == g.taps;
    const bool whole = taps == g.taps;
    const char* b = static_cast<const char*>(g.b) + tap * g.b_tap_bytes;
    for (int r = 0; r < g.rows; r += tile_rows) {
      const int rows = g.rows - r < tile_rows ? g.rows - r : tile_rows;
      float* acc = whole ? tile : g.scratch + r * columns;
      FindTile<P>(rows, g.vectors)(g.a + tap * g.a_stride + r, g.a_stride, taps, g.k, b, g.b_tap_bytes, acc, columns,
                                   tap > 0);
      if (!last) continue;
      FinishSums<P>(g, r, rows, acc, columns);
    }
  }
}

}  // namespace
}  // namespace longtake::cpu::LONGTAKE_ISA

#endif  // LONGTAKE_ENGINE_CPU_KERNELS_GEMM_H_
