#include "engine/cuda/kernels/attention.h"
#include "engine/cuda/kernels/dispatch.h"
#include "engine/cuda/kernels/elements.h"
#include "engine/cuda/kernels/fragments.h"

namespace longtake::cuda {
namespace {

constexpr int kWarps = kQueries / 16;
constexpr int kThreads = 32 * kWarps;
constexpr float kLog2E = 1.4426950408889634f;

// Wide heads (Gemma's 256, the VAE's 384) are cut into slices of at most 128 columns of values, a block each, which all
// compute the scores: a warp's outputs, 16 x 128, then take 64 registers, and 384 columns would take 192.
constexpr int kSlice = 128;

// kWhole: one slice, so head_dim is known to the compiler, the queries' fragments stay in registers, and two steps of
// 64 keys are in shared memory (76 KB with 112 columns: two blocks a multiprocessor). Else one step of 32 (84 KB with
// 384 columns, so that it fits the 99 KB that a block may have on sm_120).
template <bool kWhole>
struct Steps {
  static constexpr int kKeys = kWhole ? 64 : 32;
  static constexpr int kStages = kWhole ? 2 : 1;
};

// Rows in shared memory are 16 bytes longer than their columns: eight rows of a matrix lie on 32 banks.
__host__ __device__ constexpr int RowElements(int columns) { return columns + 8; }

template <int kTiles, bool kWhole>
size_t SharedBytes(int padded) {
  using S = Steps<kWhole>;
  return 2 * (size_t{kQueries} * RowElements(padded) +
              S::kStages * S::kKeys * (RowElements(padded) + RowElements(16 * kTiles)));
}

__device__ __forceinline__ float Capped(float score, float cap) { return cap > 0.f ? cap * tanhf(score / cap) : score; }

// Of granules of 8 columns 16 threads have a row of at most 128 columns, and a thread the same granule of rows that are
// kRowsApart apart: its addresses differ by constants.
constexpr int kRowThreads = 16, kRowsApart = kThreads / kRowThreads;

// kPlain: every query sees every key, scores are not capped, and queries lie so that 8 of them can be loaded at once
// (IsPlain). So it is in the transformer's cross-attention and the VAE; not in the text encoder.
template <int kTiles, bool kWhole, bool kPlain>
__global__ void __launch_bounds__(kThreads) AttentionKernel(AttentionLaunch a) {
  constexpr int kKeys = Steps<kWhole>::kKeys, kStages = Steps<kWhole>::kStages;
  constexpr int kValueRow = RowElements(16 * kTiles);
  const int d = a.head_dim;
  const int padded = kWhole ? 16 * kTiles : static_cast<int>(PaddedHead(d));
  const int key_row = RowElements(padded);
  const int head = blockIdx.y, kv_head = head / (a.heads / a.kv_heads), first_column = blockIdx.z * 16 * kTiles;
  const Share share = a.shares[blockIdx.x];
  if (share.segment < 0) return;
  const AttentionSegment segment = a.segments[share.segment];
  const int queries = min(kQueries, segment.rows - share.first);

  Bf16* shared_q = SharedMemory<Bf16>();
  Bf16* shared_k = shared_q + kQueries * key_row;
  Bf16* shared_v = shared_k + kStages * kKeys * key_row;

  // Which keys any of these queries sees.
  int end = segment.keys, begin = 0;
  if (!kPlain && a.causal) end = min(end, share.first + queries);
  if (!kPlain && a.window > 0) begin = max(0, share.first - a.window + 1) / kKeys * kKeys;
  const int steps = end > begin ? (end - begin + kKeys - 1) / kKeys : 0;

  const Bf16* k = static_cast<const Bf16*>(segment.k) + kv_head * segment.head_stride;
  const Bf16* v = static_cast<const Bf16*>(segment.v) + kv_head * segment.head_stride;
  const int granule_row = threadIdx.x / kRowThreads, granule = threadIdx.x % kRowThreads * 8;
  const auto load_whole = [&](int first, Bf16* to_k, Bf16* to_v) {
    if (granule >= padded) return;
    const int64_t from = (int64_t{first} + granule_row) * padded + granule;
    to_k += granule_row * key_row + granule;
    to_v += granule_row * kValueRow + granule;
    const bool all = first + kKeys <= end;
#pragma unroll
    for (int r = 0; r < kKeys; r += kRowsApart) {
      const bool valid = all || first + granule_row + r < end;
      const int64_t at = valid ? from + r * padded : 0;
      CopyAsync16(to_k + r * key_row, k + at, valid);
      CopyAsync16(to_v + r * kValueRow, v + at, valid);
    }
  };
  const auto load = [&](int step) {
    const int first = begin + step * kKeys;
    Bf16* to_k = shared_k + step % kStages * kKeys * key_row;
    Bf16* to_v = shared_v + step % kStages * kKeys * kValueRow;
    if constexpr (kWhole) return load_whole(first, to_k, to_v);
    const int granules = padded / 8;
    for (int e = threadIdx.x; e < kKeys * granules; e += kThreads) {
      const int row = e / granules, column = e % granules * 8;
      const bool valid = first + row < end;
      CopyAsync16(to_k + row * key_row + column, k + (valid ? int64_t{first} + row : 0) * padded + column, valid);
    }
    for (int e = threadIdx.x; e < kKeys * 2 * kTiles; e += kThreads) {
      const int row = e / (2 * kTiles), column = e % (2 * kTiles) * 8;
      const bool valid = first + row < end && first_column + column < padded;
      CopyAsync16(to_v + row * kValueRow + column,
                  v + (valid ? (int64_t{first} + row) * padded + first_column + column : 0), valid);
    }
  };
#pragma unroll
  for (int step = 0; step < kStages - 1; ++step) {
    if (step < steps) load(step);
    CommitCopies();
  }

  // The queries, normed on the way; zeros behind the columns and the rows.
  if constexpr (kPlain && kWhole) {
    float weight[8], x[8];
    const bool normed = a.q_weight != nullptr && granule < d;
    if (normed) Load<8>(a.q_weight + head * d + granule, weight);
#pragma unroll
    for (int row = granule_row; row < kQueries; row += kRowsApart) {
      if (granule >= padded) break;
      const bool valid = row < queries && granule < d;
      const int64_t n = segment.first_row + share.first + (valid ? row : 0);
      if (valid) {
        Load<8>(static_cast<const Bf16*>(a.q) + n * a.q_row_stride + head * a.q_head_stride + granule, x);
      }
      const float inverse = normed ? a.q_inverse[n] : 1.f;
#pragma unroll
      for (int i = 0; i < 8; ++i) x[i] = !valid ? 0.f : normed ? x[i] * (inverse * weight[i]) : x[i];
      Store<8>(shared_q + row * key_row + granule, x);
    }
  } else {
    for (int e = threadIdx.x; e < kQueries * padded; e += kThreads) {
      const int row = e / padded, column = e % padded;
      float x = 0.f;
      if (row < queries && column < d) {
        const int64_t n = segment.first_row + share.first + row;
        x = ToFloat(static_cast<const Bf16*>(a.q)[n * a.q_row_stride + head * a.q_head_stride + column]);
        if (a.q_weight != nullptr) x *= a.q_inverse[n] * a.q_weight[head * d + column];
      }
      shared_q[row * key_row + column] = ToBf16(x);
    }
  }
  SyncBlock();

  const int warp = threadIdx.x / 32, row = threadIdx.x % 32 / 4, column = threadIdx.x % 4;
  const LaneAddress by_rows = ByRows(), by_columns = ByColumns();
  const Bf16* q_fragments = shared_q + (16 * warp + by_rows.row) * key_row + by_rows.column;
  uint32_t q[kWhole ? kTiles : 1][4];
  if constexpr (kWhole) {
#pragma unroll
    for (int t = 0; t < kTiles; ++t) LoadMatrix4(q[t], q_fragments + 16 * t);
  }

  float out[2 * kTiles][4] = {};
  float top[2] = {-INFINITY, -INFINITY}, total[2] = {0.f, 0.f};
  for (int step = 0; step < steps; ++step) {
    if (step + kStages - 1 < steps) load(step + kStages - 1);
    CommitCopies();
    WaitCopies<kStages - 1>();
    SyncBlock();

    const Bf16* step_k = shared_k + step % kStages * kKeys * key_row + by_columns.row * key_row + by_columns.column;
    float scores[kKeys / 8][4] = {};
    const auto multiply = [&](int t, const uint32_t(&left)[4]) {
#pragma unroll
      for (int n = 0; n < kKeys / 16; ++n) {
        uint32_t right[4];
        LoadMatrix4(right, step_k + 16 * n * key_row + 16 * t);
        const uint32_t first[2] = {right[0], right[1]}, second[2] = {right[2], right[3]};
        MmaBf16(scores[2 * n], left, first);
        MmaBf16(scores[2 * n + 1], left, second);
      }
    };
    if constexpr (kWhole) {
#pragma unroll
      for (int t = 0; t < kTiles; ++t) multiply(t, q[t]);
    } else {
      for (int t = 0; t < padded / 16; ++t) {
        LoadMatrix4(q[0], q_fragments + 16 * t);
        multiply(t, q[0]);
      }
    }

    // In powers of two from here on: exp(x) = exp2(x log2 e).
    const int first_key = begin + step * kKeys;
    const float factor = kPlain ? a.scale * kLog2E : 1.f;  // of scores that are not scaled before
    float step_top[2] = {-INFINITY, -INFINITY};
    if (!kPlain || first_key + kKeys > end) {
#pragma unroll
      for (int n = 0; n < kKeys / 8; ++n) {
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          const int key = first_key + 8 * n + 2 * column + e % 2;
          bool seen = key < end;
          if constexpr (!kPlain) {
            const int query = share.first + 16 * warp + row + 8 * (e / 2);
            seen = seen && (!a.causal || key <= query) && (a.window == 0 || query - key < a.window);
            scores[n][e] = Capped(scores[n][e] * a.scale, a.soft_cap) * kLog2E;
          }
          if (!seen) scores[n][e] = -INFINITY;
        }
      }
    }
#pragma unroll
    for (int n = 0; n < kKeys / 8; ++n) {
#pragma unroll
      for (int e = 0; e < 4; ++e) step_top[e / 2] = fmaxf(step_top[e / 2], scores[n][e]);
    }
    float shrink[2], base[2];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      step_top[half] = fmaxf(step_top[half], ShuffleXor(step_top[half], 1));
      step_top[half] = fmaxf(step_top[half], ShuffleXor(step_top[half], 2));
      step_top[half] = fmaxf(top[half], step_top[half] * factor);
      // Of a row that has seen no key yet: 0, so that no infinity is subtracted from another.
      base[half] = step_top[half] == -INFINITY ? 0.f : step_top[half];
      shrink[half] = FastExp2(top[half] - base[half]);
      top[half] = step_top[half];
      total[half] *= shrink[half];
    }
    // Most steps have no larger score than those before. To multiply by 1 changes nothing.
    if (Ballot(shrink[0] != 1.f || shrink[1] != 1.f) != 0) {
#pragma unroll
      for (int n = 0; n < 2 * kTiles; ++n) {
#pragma unroll
        for (int e = 0; e < 4; ++e) out[n][e] *= shrink[e / 2];
      }
    }
#pragma unroll
    for (int n = 0; n < kKeys / 8; ++n) {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        scores[n][e] = FastExp2(scores[n][e] * factor - base[e / 2]);
        total[e / 2] += scores[n][e];
      }
    }

    // Two tiles of scores are one left operand.
    const Bf16* step_v = shared_v + step % kStages * kKeys * kValueRow + by_rows.row * kValueRow + by_rows.column;
#pragma unroll
    for (int n = 0; n < kKeys / 16; ++n) {
      const float(&low)[4] = scores[2 * n];
      const float(&high)[4] = scores[2 * n + 1];
      const uint32_t left[4] = {PackBf16(low[0], low[1]), PackBf16(low[2], low[3]), PackBf16(high[0], high[1]),
                                PackBf16(high[2], high[3])};
#pragma unroll
      for (int t = 0; t < kTiles; ++t) {
        uint32_t right[4];
        LoadMatrix4Transposed(right, step_v + 16 * n * kValueRow + 16 * t);
        const uint32_t first[2] = {right[0], right[1]}, second[2] = {right[2], right[3]};
        MmaBf16(out[2 * t], left, first);
        MmaBf16(out[2 * t + 1], left, second);
      }
    }
    SyncBlock();  // the next load overwrites what was read here
  }
  WaitCopies<0>();

#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float sum = total[half];
    sum += ShuffleXor(sum, 1);
    sum += ShuffleXor(sum, 2);
    const float inverse = sum > 0.f ? 1.f / sum : 0.f;  // a padded row whose window holds padding only: zeros
    const int query = 16 * warp + row + 8 * half;
    if (query >= queries) continue;
    Bf16* to = static_cast<Bf16*>(a.out.data) + (segment.first_row + share.first + query) * a.out.stride +
               int64_t{head} * d + first_column;
    const bool in_pairs = d % 2 == 0 && a.out.stride % 2 == 0;
#pragma unroll
    for (int n = 0; n < 2 * kTiles; ++n) {
      const int at = 8 * n + 2 * column;
      const float pair[2] = {out[n][2 * half] * inverse, out[n][2 * half + 1] * inverse};
      if (in_pairs) {
        if (first_column + at < d) Store<2>(to + at, pair);
      } else {
        if (first_column + at < d) to[at] = ToBf16(pair[0]);
        if (first_column + at + 1 < d) to[at + 1] = ToBf16(pair[1]);
      }
    }
  }
}

// What kPlain asks for.
bool IsPlain(const AttentionLaunch& a) {
  const auto aligned = [](const void* p) { return reinterpret_cast<uintptr_t>(p) % 16 == 0; };
  return a.causal == 0 && a.window == 0 && a.soft_cap == 0.f && a.scale > 0.f && a.head_dim % 8 == 0 &&
         a.q_row_stride % 8 == 0 && a.q_head_stride % 8 == 0 && aligned(a.q) && aligned(a.q_weight);
}

template <int kTiles, bool kWhole, bool kPlain>
void Launch(Launcher& launcher, const AttentionLaunch& a, unsigned slices) {
  const int padded = static_cast<int>(PaddedHead(a.head_dim));
  launcher.Launch("attention",
                  {.grid = dim3(static_cast<unsigned>(a.share_count), static_cast<unsigned>(a.heads), slices),
                   .block = dim3(kThreads),
                   .shared_bytes = SharedBytes<kTiles, kWhole>(padded)},
                  AttentionKernel<kTiles, kWhole, kPlain>, a);
}

}  // namespace

void RunAttention(Launcher& launcher, const AttentionLaunch& a) {
  const auto tiles = static_cast<int>(PaddedHead(a.head_dim) / 16);
  const bool plain = IsPlain(a);
  if (tiles <= kSlice / 16) {
    ByNumber<1, kSlice / 16>(tiles, [&](auto n) {
      plain ? Launch<n(), true, true>(launcher, a, 1) : Launch<n(), true, false>(launcher, a, 1);
    });
    return;
  }
  const auto slices = static_cast<unsigned>(DivideUp(tiles, kSlice / 16));
  plain ? Launch<kSlice / 16, false, true>(launcher, a, slices)
        : Launch<kSlice / 16, false, false>(launcher, a, slices);
}

}  // namespace longtake::cuda
