#include "engine/cuda/kernels/dispatch.h"
#include "engine/cuda/kernels/elements.h"
#include "engine/cuda/kernels/linear_attention.h"
#include "engine/cuda/kernels/rotation.h"

namespace longtake::cuda {
namespace {

// A head's columns are cut into slices of at most 128, so that a warp's sums (16 x 128) take 64 registers.
constexpr int kSlice = 128;

struct Arguments {
  LinearAttentionLaunch a;
  const void* q;
  const void* k;
  const void* v;
};

// Norm and ReLU of a pair, and its rotation, which with gated keys is that of the pair before the ReLU.
template <bool kGated>
__device__ __forceinline__ void Project(float (&x)[2], float inverse, float2 weight, float2 rotation,
                                        float (&rotated)[2]) {
  const float normed[2] = {x[0] * inverse * weight.x, x[1] * inverse * weight.y};
  x[0] = fmaxf(normed[0], 0.f);
  x[1] = fmaxf(normed[1], 0.f);
  if constexpr (kGated) {
    Rotate(normed, rotation, rotated);
  } else {
    Rotate(x, rotation, rotated);
  }
}

__device__ __forceinline__ float2 WeightOf(const float* weight, int64_t at) {
  return weight == nullptr ? make_float2(1.f, 1.f) : *reinterpret_cast<const float2*>(weight + at);
}

// ---- The sums over kStateTokens tokens
// -------------------------------------------------------------------------------------------

constexpr int kStep = 32;  // tokens in shared memory at a time

// Rows of a step in shared memory, [token][column]. A fragment's lanes read 4 tokens of 8 columns: a stride of 8 or 24
// modulo 32 words puts these on 32 banks.
__host__ __device__ constexpr int StepStride(int tiles) { return 16 * tiles + 8; }

template <int kTiles, bool kGated>
constexpr size_t StateSharedBytes() {
  return kStateTokens * (sizeof(Place) + (kGated ? sizeof(float) : 0)) +
         2 * 2 * kStep * StepStride(kTiles) * sizeof(float);
}

// S[i][j] += v[i] k~[j] for i and j in slices of 16 * kTiles columns. Warp w has the rows i of tile w and all columns;
// with 112 columns 7 warps of 56 sums a lane. Two steps are in shared memory: while one is multiplied the next is
// loaded, normed and rotated.
template <typename In, int kTiles, bool kGated>
__global__ void __launch_bounds__(32 * kTiles) StateKernel(Arguments g) {
  const LinearAttentionLaunch& a = g.a;
  constexpr int kPairs = 8 * kTiles, kStride = StepStride(kTiles), kMine = kStep / 4;
  Place* places = SharedMemory<Place>();
  float* gates = reinterpret_cast<float*>(places + kStateTokens);  // of this head's keys
  uint32_t* steps = reinterpret_cast<uint32_t*>(gates + (kGated ? kStateTokens : 0));
  const int d = a.head_dim, slices = (d + kSlice - 1) / kSlice;
  const int head = blockIdx.y;
  const int first_i = blockIdx.z / slices * kSlice, first_j = blockIdx.z % slices * kSlice;
  const Share share = a.state_shares[blockIdx.x];
  if (share.segment < 0) return;
  const LinearSegment& segment = a.segments[share.segment];
  const GridSegment grid = segment.grid;
  const int count = min(kStateTokens, grid.frames * grid.height * grid.width - share.first);

  // Behind the last token of the last step stands that token again with a factor of 0, so that it adds nothing: neither
  // to S nor to z.
  for (int t = threadIdx.x; t < (count + kStep - 1) / kStep * kStep; t += 32 * kTiles) {
    const int token = share.first + min(t, count - 1);
    places[t] = PlaceOf(grid, token, a.k_inverse);
    if (t >= count) places[t].inverse = 0.f;
    if constexpr (kGated) gates[t] = a.key_gate[(grid.first_row + token) * a.key_gate_stride + head];
  }
  SyncBlock();

  // This thread's pair of columns, and its tokens of each step: group, group + 4, ...
  const int pair = threadIdx.x % kPairs, group = threadIdx.x / kPairs;
  const int i = first_i + 2 * pair, j = first_j + 2 * pair;
  const bool has_j = j < d;
  const PairRotation rotation(a.rotary, has_j ? j / 2 : 0);
  const float2 weight = has_j ? WeightOf(a.k_weight, int64_t{head} * d + j) : make_float2(0.f, 0.f);
  const int64_t stride = a.qkv.stride, first = (grid.first_row + share.first) * stride + int64_t{head} * d;
  // Columns behind d have any values: those of S are not stored.
  const In* k = static_cast<const In*>(g.k) + first + min(j, d - 2);
  const In* v = static_cast<const In*>(g.v) + first + min(i, d - 2);
  float z[2] = {0.f, 0.f};

  float next_k[kMine][2], next_v[kMine][2];
  const auto load = [&](int step) {
#pragma unroll
    for (int r = 0; r < kMine; ++r) {
      const int t = min(step * kStep + group + 4 * r, count - 1);
      Load<2>(k + t * stride, next_k[r]);
      Load<2>(v + t * stride, next_v[r]);
    }
  };
  const auto store = [&](int step) {
    uint32_t* to_k = steps + (step % 2) * 2 * kStep * kStride + group * kStride + 2 * pair;
    uint32_t* to_v = to_k + kStep * kStride;
#pragma unroll
    for (int r = 0; r < kMine; ++r) {
      const int t = step * kStep + group + 4 * r;
      const Place place = places[t];
      float rotated[2];
      Project<kGated>(next_k[r], place.inverse, weight, rotation.At(place), rotated);
      if constexpr (kGated) {
        rotated[0] *= gates[t];
        rotated[1] *= gates[t];
      }
      z[0] += next_k[r][0];
      z[1] += next_k[r][1];
      *reinterpret_cast<uint2*>(to_k + r * 4 * kStride) = make_uint2(ToTf32(rotated[0]), ToTf32(rotated[1]));
      *reinterpret_cast<uint2*>(to_v + r * 4 * kStride) = make_uint2(ToTf32(next_v[r][0]), ToTf32(next_v[r][1]));
    }
  };

  float sums[2 * kTiles][4] = {};
  const int warp = threadIdx.x / 32, row = threadIdx.x % 32 / 4, column = threadIdx.x % 4;
  const int all_steps = (count + kStep - 1) / kStep;
  load(0);
  store(0);
  SyncBlock();
  for (int step = 0; step < all_steps; ++step) {
    if (step + 1 < all_steps) load(step + 1);
    const uint32_t* step_k = steps + (step % 2) * 2 * kStep * kStride + column * kStride + row;
    const uint32_t* step_v = step_k + kStep * kStride + 16 * warp;
#pragma unroll
    for (int t = 0; t < kStep; t += 8) {
      const uint32_t left[4] = {step_v[t * kStride], step_v[t * kStride + 8], step_v[(t + 4) * kStride],
                                step_v[(t + 4) * kStride + 8]};
#pragma unroll
      for (int n = 0; n < 2 * kTiles; ++n) {
        const uint32_t right[2] = {step_k[t * kStride + 8 * n], step_k[(t + 4) * kStride + 8 * n]};
        MmaTf32(sums[n], left, right);
      }
    }
    if (step + 1 < all_steps) store(step + 1);
    SyncBlock();
  }

  float* out = a.partials + (int64_t{blockIdx.x} * a.heads + head) * a.StateFloats();
#pragma unroll
  for (int n = 0; n < 2 * kTiles; ++n) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int at_i = first_i + 16 * warp + row + 8 * half, at_j = first_j + 8 * n + 2 * column;
      if (at_i < d && at_j < d) {
        *reinterpret_cast<float2*>(out + at_i * d + at_j) = make_float2(sums[n][2 * half], sums[n][2 * half + 1]);
      }
    }
  }
  // z of a column: its four groups' sums, in order. All steps have been read: the last barrier was behind them.
  float* groups = reinterpret_cast<float*>(steps);
  groups[group * 2 * kPairs + 2 * pair] = z[0];
  groups[group * 2 * kPairs + 2 * pair + 1] = z[1];
  SyncBlock();
  for (int c = threadIdx.x; c < 2 * kPairs; c += 32 * kTiles) {
    if (first_i > 0 || first_j + c >= d) continue;
    out[d * d + first_j + c] = groups[c] + groups[2 * kPairs + c] + groups[4 * kPairs + c] + groups[6 * kPairs + c];
  }
}

// ---- The sum of the sums
// -------------------------------------------------------------------------------------------------

constexpr int kReduceThreads = 256;

// A thread an element of S and z of one session and head.
__global__ void __launch_bounds__(kReduceThreads) ReduceKernel(Arguments g) {
  const LinearAttentionLaunch& a = g.a;
  const int d = a.head_dim, head = blockIdx.y % a.heads, index = blockIdx.y / a.heads;
  const int64_t floats = a.StateFloats(), e = int64_t{blockIdx.x} * kReduceThreads + threadIdx.x;
  if (e >= floats) return;
  const LinearSegment s = a.segments[index];
  float own = 0.f;
  for (int p = 0; p < s.partials; ++p) own += a.partials[(int64_t{s.first_partial + p} * a.heads + head) * floats + e];
  const bool is_z = e >= int64_t{d} * d;
  const int64_t at = is_z ? int64_t{head} * d + e - int64_t{d} * d : int64_t{head} * d * d + e;
  float sum = own;
  if (s.histories > 0) {
    float past = 0.f;
    for (int h = 0; h < s.histories; ++h) {
      const StatePart part = a.history[s.first_history + h];
      past += (is_z ? part.z : part.S)[at];
    }
    sum = past + own;
  }
  if (s.S_out != nullptr) (is_z ? s.z_out : s.S_out)[at] = s.store_sum ? sum : own;
  a.sums[(int64_t{index} * a.heads + head) * floats + e] = sum;
}

// ---- The outputs
// ----------------------------------------------------------------------------------------------------------

constexpr int kOutputWarps = 8;

// S in shared memory, [i][j] in TF32. A fragment's lanes read pairs of 8 rows and 4 pairs of columns: a stride of 8 or
// 24 modulo 32 words puts each half warp's 16 pairs on 32 banks.
__host__ __device__ constexpr int StateStride(int head_dim) { return (head_dim + 15) / 16 * 16 + 8; }

// A warp has 16 tokens, all columns of a slice. q goes from global memory into fragments without shared memory: a sum
// over j may run in any order, so lane i of a fragment takes columns 2i and 2i + 1, a rotary pair, for both of its
// places. S takes 54 KB for 112 columns: two blocks of 8 warps a multiprocessor, by registers.
template <typename In, int kTiles, bool kGated>
__global__ void __launch_bounds__(32 * kOutputWarps, 2) OutputKernel(Arguments g) {
  const LinearAttentionLaunch& a = g.a;
  const int d = a.head_dim, head = blockIdx.y, first_i = blockIdx.z * kSlice, stride = StateStride(d);
  const Share share = a.output_shares[blockIdx.x];
  if (share.segment < 0) return;
  const GridSegment grid = a.segments[share.segment].grid;
  const int count = min(kOutputTokens, grid.frames * grid.height * grid.width - share.first);
  uint32_t* S = SharedMemory<uint32_t>();
  float* z = reinterpret_cast<float*>(S + 16 * kTiles * stride);

  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, row = lane / 4, column = lane % 4;
  // Columns behind d are zero, so that they add nothing to sums. d is even.
  const int padded = stride - 8;
  const float* sums = a.sums + (int64_t{share.segment} * a.heads + head) * a.StateFloats();
  for (int i = warp; i < 16 * kTiles; i += kOutputWarps) {
    const float* from = sums + (first_i + i) * d;
    for (int j = 2 * lane; j < padded; j += 64) {
      float2 pair = make_float2(0.f, 0.f);
      if (first_i + i < d && j < d) pair = *reinterpret_cast<const float2*>(from + j);
      *reinterpret_cast<uint2*>(S + i * stride + j) = make_uint2(ToTf32(pair.x), ToTf32(pair.y));
    }
  }
  for (int j = threadIdx.x; j < padded; j += 32 * kOutputWarps) z[j] = j < d ? sums[d * d + j] : 0.f;
  SyncBlock();

  for (int first = 16 * warp; first < count; first += 16 * kOutputWarps) {
    // Rows behind the last token are the last one's, and are not stored. Columns behind d are the last pair's: S and z
    // have zeros for them. So nothing in the loop depends on what is there.
    Place places[2];
    const In* q[2];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int token = share.first + min(first + row + 8 * half, count - 1);
      places[half] = PlaceOf(grid, token, a.q_inverse);
      q[half] = static_cast<const In*>(g.q) + (grid.first_row + token) * a.qkv.stride + int64_t{head} * d;
    }
    float out[2 * kTiles][4] = {};
    float denominator[2] = {0.f, 0.f};
#pragma unroll 2
    for (int j = 2 * column; j < padded; j += 8) {
      const int there = min(j, d - 2);
      const PairRotation rotation(a.rotary, there / 2);
      const float2 weight = WeightOf(a.q_weight, int64_t{head} * d + there);
      const float2 sum = *reinterpret_cast<const float2*>(z + j);
      uint32_t left[4];
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float plain[2], rotated[2];
        Load<2>(q[half] + there, plain);
        Project<kGated>(plain, places[half].inverse, weight, rotation.At(places[half]), rotated);
        denominator[half] += plain[0] * sum.x + plain[1] * sum.y;
        left[half] = ToTf32(rotated[0]);
        left[2 + half] = ToTf32(rotated[1]);
      }
#pragma unroll
      for (int n = 0; n < 2 * kTiles; ++n) {
        const uint2 pair = *reinterpret_cast<const uint2*>(S + (8 * n + row) * stride + j);
        const uint32_t right[2] = {pair.x, pair.y};
        MmaTf32(out[n], left, right);
      }
    }
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float total = denominator[half];
      total += ShuffleXor(total, 1);
      total += ShuffleXor(total, 2);
      const float factor = 1.f / (total + (kGated ? 1e-8f : 1e-15f));
      const int t = first + row + 8 * half;
      if (t >= count) continue;
      Bf16* to = static_cast<Bf16*>(a.out.data) + (grid.first_row + share.first + t) * a.out.stride +
                 int64_t{head} * d + first_i + 2 * column;
#pragma unroll
      for (int n = 0; n < 2 * kTiles; ++n) {
        const float pair[2] = {out[n][2 * half] * factor, out[n][2 * half + 1] * factor};
        if (first_i + 8 * n + 2 * column < d) Store<2>(to + 8 * n, pair);
      }
    }
  }
}

template <typename In, int kTiles, bool kGated>
void Launch(Launcher& launcher, const Arguments& g) {
  const LinearAttentionLaunch& a = g.a;
  const auto heads = static_cast<unsigned>(a.heads);
  const unsigned slices = static_cast<unsigned>(DivideUp(a.head_dim, kSlice));
  launcher.Launch("linear_attention_state",
                  {.grid = dim3(static_cast<unsigned>(a.state_share_count), heads, slices * slices),
                   .block = dim3(32 * kTiles),
                   .shared_bytes = StateSharedBytes<kTiles, kGated>()},
                  StateKernel<In, kTiles, kGated>, g);
  launcher.Launch("linear_attention_reduce",
                  {.grid = dim3(static_cast<unsigned>(DivideUp(a.StateFloats(), kReduceThreads)),
                                static_cast<unsigned>(a.segment_count) * heads),
                   .block = dim3(kReduceThreads)},
                  ReduceKernel, g);
  const int stride = StateStride(a.head_dim);
  launcher.Launch("linear_attention_output",
                  {.grid = dim3(static_cast<unsigned>(a.output_share_count), heads, slices),
                   .block = dim3(32 * kOutputWarps),
                   .shared_bytes = (size_t{16} * kTiles * stride + stride) * sizeof(float)},
                  OutputKernel<In, kTiles, kGated>, g);
}

}  // namespace

void RunLinearAttention(Launcher& launcher, DType qkv, const LinearAttentionLaunch& a) {
  const int64_t D = int64_t{a.heads} * a.head_dim;
  const auto* q = static_cast<const std::byte*>(a.qkv.data);
  const int64_t column = D * static_cast<int64_t>(SizeOf(qkv));
  const Arguments g = {.a = a, .q = q, .k = q + column, .v = q + 2 * column};
  ByType(qkv, [&](auto in) {
    const int widest = a.head_dim < kSlice ? a.head_dim : kSlice;
    ByNumber<1, kSlice / 16>(static_cast<int>(DivideUp(widest, 16)), [&](auto tiles) {
      if (a.key_gate == nullptr) {
        Launch<decltype(in), tiles(), false>(launcher, g);
      } else {
        Launch<decltype(in), tiles(), true>(launcher, g);
      }
    });
  });
}

}  // namespace longtake::cuda
