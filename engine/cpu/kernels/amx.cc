// Matrix products of bf16 and of bytes with AMX tiles, for Sapphire Rapids and later processors.
//
// On a processor without AMX, tests run packing, indexing and epilogue with EmulatedTiles, which computes what the
// manual specifies for TDPBF16PS and TDPBUSD (Intel SDM volume 2). Where there is AMX a test compares the two.
// docs/hardware.md says which processors RealTiles has run on.
#include "engine/cpu/kernels/gemm.h"

namespace longtake::cpu::amx_bf16 {
namespace {

constexpr int kTileRows16 = 16;                  // rows of a tile
constexpr int kBlockTileRows = 2 * kTileRows16;  // 2 x 2 tiles of sums: 4 products (64 cycles) for 4 loads (32 cycles)
constexpr int64_t kRowBytes = 64;                // of a tile: 32 bf16 inputs, or 64 bytes

// Tile registers: 0 to 3 are sums [half of the rows][half of the columns], 4 and 5 are rows, 6 and 7 weights.
struct RealTiles {
  // Configures palette 1, all tiles with 16 rows of 64 bytes. The configuration is part of the thread's state and is
  // released after a block, so that context switches need not save its 8 KiB.
  void Begin() {
    alignas(64) uint8_t config[64] = {1};
    for (int t = 0; t < 8; ++t) {
      config[16 + 2 * t] = kRowBytes;
      config[48 + t] = kTileRows16;
    }
    _tile_loadconfig(config);
  }
  void End() { _tile_release(); }
  template <int T>
  LT_INLINE void Zero() {
    if constexpr (T == 0) _tile_zero(0);
    if constexpr (T == 1) _tile_zero(1);
    if constexpr (T == 2) _tile_zero(2);
    if constexpr (T == 3) _tile_zero(3);
  }
  // GCC 12's intrinsic does not tell the compiler that it reads memory. The empty asm statement keeps earlier stores
  // before it.
  template <int T>
  LT_INLINE void Load(const void* p, int64_t stride) {
    __asm__ volatile("" ::: "memory");
    if constexpr (T == 0) _tile_loadd(0, p, stride);
    if constexpr (T == 1) _tile_loadd(1, p, stride);
    if constexpr (T == 2) _tile_loadd(2, p, stride);
    if constexpr (T == 3) _tile_loadd(3, p, stride);
    if constexpr (T == 4) _tile_loadd(4, p, stride);
    if constexpr (T == 5) _tile_loadd(5, p, stride);
    if constexpr (T == 6) _tile_loadd(6, p, stride);
    if constexpr (T == 7) _tile_loadd(7, p, stride);
  }
  template <int T>
  LT_INLINE void Store(void* p, int64_t stride) {
    if constexpr (T == 0) _tile_stored(0, p, stride);
    if constexpr (T == 1) _tile_stored(1, p, stride);
    if constexpr (T == 2) _tile_stored(2, p, stride);
    if constexpr (T == 3) _tile_stored(3, p, stride);
    __asm__ volatile("" ::: "memory");
  }
  // Sums 2 * R + C += rows 4 + R times weights 6 + C.
  template <typename P, int R, int C>
  LT_INLINE void Multiply() {
    if constexpr (P::kStep == 2) {
      if constexpr (R == 0 && C == 0) _tile_dpbf16ps(0, 4, 6);
      if constexpr (R == 0 && C == 1) _tile_dpbf16ps(1, 4, 7);
      if constexpr (R == 1 && C == 0) _tile_dpbf16ps(2, 5, 6);
      if constexpr (R == 1 && C == 1) _tile_dpbf16ps(3, 5, 7);
    } else {
      if constexpr (R == 0 && C == 0) _tile_dpbusd(0, 4, 6);
      if constexpr (R == 0 && C == 1) _tile_dpbusd(1, 4, 7);
      if constexpr (R == 1 && C == 0) _tile_dpbusd(2, 5, 6);
      if constexpr (R == 1 && C == 1) _tile_dpbusd(3, 5, 7);
    }
  }
};

// The tile registers emulated in memory.
struct EmulatedTiles {
  alignas(64) char tile[8][kTileRows16][kRowBytes];

  void Begin() { __builtin_memset(tile, 0, sizeof(tile)); }
  void End() {}
  template <int T>
  void Zero() {
    __builtin_memset(tile[T], 0, sizeof(tile[T]));
  }
  template <int T>
  void Load(const void* p, int64_t stride) {
    for (int r = 0; r < kTileRows16; ++r) {
      __builtin_memcpy(tile[T][r], static_cast<const char*>(p) + r * stride, kRowBytes);
    }
  }
  template <int T>
  void Store(void* p, int64_t stride) {
    for (int r = 0; r < kTileRows16; ++r) __builtin_memcpy(static_cast<char*>(p) + r * stride, tile[T][r], kRowBytes);
  }
  template <typename P, int R, int C>
  void Multiply() {
    for (int m = 0; m < kTileRows16; ++m) {
      for (int n = 0; n < 16; ++n) {
        if constexpr (P::kStep == 2) {
          MultiplyPairs(tile[4 + R][m], tile[6 + C], n, reinterpret_cast<float*>(tile[2 * R + C][m]) + n);
        } else {
          MultiplyBytes(tile[4 + R][m], tile[6 + C], n, reinterpret_cast<int32_t*>(tile[2 * R + C][m]) + n);
        }
      }
    }
  }

 private:
  // Adds up the pairs' even products and their odd products separately, over the 16 pairs in order, then adds both to
  // the old sum.
  static void MultiplyPairs(const char* row, const char (*weights)[kRowBytes], int n, float* sum) {
    const auto* a = reinterpret_cast<const bf16*>(row);
    float even = 0, odd = 0;
    for (int k = 0; k < 16; ++k) {
      const auto* b = reinterpret_cast<const bf16*>(weights[k]);
      even = __builtin_fmaf(ToFloat(a[2 * k]), ToFloat(b[2 * n]), even);
      odd = __builtin_fmaf(ToFloat(a[2 * k + 1]), ToFloat(b[2 * n + 1]), odd);
    }
    *sum += even + odd;
  }
  static void MultiplyBytes(const char* row, const char (*weights)[kRowBytes], int n, int32_t* sum) {
    for (int k = 0; k < kRowBytes; ++k) {
      *sum += static_cast<uint8_t>(row[k]) * static_cast<int8_t>(weights[k / 4][4 * n + k % 4]);
    }
  }
};

// One tap's inputs for 16 rows as a tile load needs them: equidistant, and padded to whole rows of 64 bytes.
struct Source {
  const char* data;
  int64_t stride;
};

// Returns the rows, `bytes` of each, in place if there are 16, they are equidistant and their length is a multiple of a
// tile's. Otherwise copies them to `copy`, padded with zeros.
Source Gather(const void* const* rows, int count, int64_t bytes, int64_t padded, char* copy) {
  const auto* first = static_cast<const char*>(rows[0]);
  bool even = count >= kTileRows16 && bytes == padded;
  const int64_t stride = even ? static_cast<const char*>(rows[1]) - first : 0;
  for (int r = 2; even && r < kTileRows16; ++r) even = static_cast<const char*>(rows[r]) - first == r * stride;
  if (even) return {first, stride};
  for (int r = 0; r < kTileRows16; ++r) {
    char* to = copy + r * padded;
    const int64_t n = r < count ? bytes : 0;
    if (n > 0) __builtin_memcpy(to, rows[r], static_cast<size_t>(n));
    __builtin_memset(to + n, 0, static_cast<size_t>(padded - n));
  }
  return {copy, padded};
}

// Multiplies 32 rows by 32 columns (16 if kColumns is 1) over some taps of `padded` bytes. The sums are at `c`,
// `c_stride` floats a row.
template <typename P, int kColumns, typename Tiles>
void Block(Tiles& tiles, const Source (*sources)[2], int taps, int64_t padded, const char* b, int64_t b_tap_bytes,
           int64_t b_stride, float* c, int64_t c_stride, bool load) {
  const int64_t bytes = c_stride * static_cast<int64_t>(sizeof(float));
  float* lower = c + kTileRows16 * c_stride;
  if (load) {
    tiles.template Load<0>(c, bytes);
    tiles.template Load<2>(lower, bytes);
    if constexpr (kColumns == 2) {
      tiles.template Load<1>(c + 16, bytes);
      tiles.template Load<3>(lower + 16, bytes);
    }
  } else {
    tiles.template Zero<0>();
    tiles.template Zero<1>();
    tiles.template Zero<2>();
    tiles.template Zero<3>();
  }
  for (int tap = 0; tap < taps; ++tap) {
    const Source& top = sources[tap][0];
    const Source& bottom = sources[tap][1];
    const char* weights = b + tap * b_tap_bytes;
    for (int64_t k = 0; k < padded; k += kRowBytes) {
      tiles.template Load<4>(top.data + k, top.stride);
      tiles.template Load<6>(weights, b_stride);
      tiles.template Multiply<P, 0, 0>();
      tiles.template Load<5>(bottom.data + k, bottom.stride);
      tiles.template Multiply<P, 1, 0>();
      if constexpr (kColumns == 2) {
        tiles.template Load<7>(weights + kRowBytes, b_stride);
        tiles.template Multiply<P, 0, 1>();
        tiles.template Multiply<P, 1, 1>();
      }
      weights += 16 * b_stride;
    }
  }
  tiles.template Store<0>(c, bytes);
  tiles.template Store<2>(lower, bytes);
  if constexpr (kColumns == 2) {
    tiles.template Store<1>(c + 16, bytes);
    tiles.template Store<3>(lower + 16, bytes);
  }
}

// Like Gemm() in gemm.h. The sum of an element has a fixed order: 64 bytes of inputs a product, taps in order. It does
// not depend on the tile's other rows.
template <typename P, typename Tiles>
void AmxGemm(const GemmBlock& g) {
  constexpr int kMaxChunk = 128;  // most taps whose sources are listed at once
  Tiles tiles;
  tiles.Begin();
  const int64_t bytes = g.k * static_cast<int64_t>(sizeof(typename P::T));
  const int64_t padded = (bytes + kRowBytes - 1) / kRowBytes * kRowBytes;
  const int columns = g.vectors * kLanes;
  const int64_t b_stride = int64_t{columns} * 4;
  const int chunk = g.chunk_taps < kMaxChunk ? g.chunk_taps : kMaxChunk;
  char* copies = reinterpret_cast<char*>(g.scratch + kMaxBlockRows * kMaxPanelVectors * 16);
  Source sources[kMaxChunk][2];
  for (int tap = 0; tap < g.taps; tap += chunk) {
    const int taps = g.taps - tap < chunk ? g.taps - tap : chunk;
    const char* b = static_cast<const char*>(g.b) + tap * g.b_tap_bytes;
    for (int r = 0; r < g.rows; r += kBlockTileRows) {
      const int rows = g.rows - r < kBlockTileRows ? g.rows - r : kBlockTileRows;
      for (int t = 0; t < taps; ++t) {
        const void* const* a = g.a + (tap + t) * g.a_stride + r;
        char* copy = copies + int64_t{t} * kBlockTileRows * padded;
        sources[t][0] = Gather(a, rows, bytes, padded, copy);
        // If there is no second half, its tile repeats the first half; its sums are not used.
        sources[t][1] = rows > kTileRows16
                            ? Gather(a + kTileRows16, rows - kTileRows16, bytes, padded, copy + kTileRows16 * padded)
                            : sources[t][0];
      }
      float* sums = g.scratch + r * columns;
      for (int v = 0; v < g.vectors; v += 2) {
        const char* weights = b + v * kRowBytes;
        float* to = sums + v * kLanes;
        if (v + 1 < g.vectors) {
          Block<P, 2>(tiles, sources, taps, padded, weights, g.b_tap_bytes, b_stride, to, columns, tap > 0);
        } else {
          Block<P, 1>(tiles, sources, taps, padded, weights, g.b_tap_bytes, b_stride, to, columns, tap > 0);
        }
      }
      if (tap + taps < g.taps) continue;
      FinishSums<P>(g, r, rows, sums, columns);
    }
  }
  tiles.End();
}

template <typename Tiles>
void Fill(KernelTable* table) {
  avx512_bf16::FillTable(table);
  table->gemm_bf16 = AmxGemm<BF16Product, Tiles>;
  table->bf16_k_multiple = kRowBytes / 2;
  table->gemm_int8 = AmxGemm<Int8Product, Tiles>;
  table->int8_k_multiple = kRowBytes;
}

}  // namespace

void FillTable(KernelTable* table) { Fill<RealTiles>(table); }
void FillEmulatedTable(KernelTable* table) { Fill<EmulatedTiles>(table); }

}  // namespace longtake::cpu::amx_bf16
