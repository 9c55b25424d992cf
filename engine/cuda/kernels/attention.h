// Softmax attention on the tensor cores: the scores are never stored (Dao, "FlashAttention-2", 2023). Cross-attention
// of the transformer, the text encoder's causal attention, the VAE's attention over a frame. reference/attention.cc
// (SoftmaxSum and its callers) defines them.
//
// A block has 64 queries of one session and head, cut from the session's first row, and walks its keys in order: bytes
// do not depend on the batch.
#ifndef LONGTAKE_ENGINE_CUDA_KERNELS_ATTENTION_H_
#define LONGTAKE_ENGINE_CUDA_KERNELS_ATTENTION_H_

#include <cstdint>

#include "engine/core/tensor.h"
#include "engine/cuda/kernels/segments.h"
#include "engine/cuda/launcher.h"

namespace longtake::cuda {

constexpr int kQueries = 64;

// Columns of a head's keys and values: head_dim with zeros behind it up to whole fragments.
__host__ __device__ constexpr int64_t PaddedHead(int64_t head_dim) { return (head_dim + 15) / 16 * 16; }

// One session, in device memory. Keys and values bf16 [kv head][key][PaddedHead], `head_stride` elements between heads.
struct AttentionSegment {
  int64_t first_row = 0;  // of queries and outputs
  int32_t rows = 0, keys = 0;
  const void* k = nullptr;
  const void* v = nullptr;
  int64_t head_stride = 0;
};

struct AttentionLaunch {
  // bf16; element e of head h of row n at n * q_row_stride + h * q_head_stride + e.
  const void* q = nullptr;
  int64_t q_row_stride = 0, q_head_stride = 0;
  // RMSNorm over all heads, applied on the way: 1/rms of each row and [heads * head_dim]; null: none.
  const float* q_inverse = nullptr;
  const float* q_weight = nullptr;
  int heads = 1, kv_heads = 1, head_dim = 0;
  float scale = 1.f;
  float soft_cap = 0.f;  // 0: none
  int32_t causal = 0;
  int window = 0;       // 0: none
  int share_count = 0;  // of kQueries rows
  const AttentionSegment* segments = nullptr;
  const Share* shares = nullptr;
  MutableRows out;  // bf16 [N, heads * head_dim]
};
void RunAttention(Launcher& launcher, const AttentionLaunch& a);

// ---- What comes before
// ---------------------------------------------------------------------------------------------------

// k and v bf16 [L, heads * head_dim] to `out`: keys, then values, bf16 [head][L][PaddedHead]. Keys get RMSNorm where
// `inverse` (1/rms of each row) and `weight` are given.
void RunPackCrossKv(Launcher& launcher, ConstMat k, ConstMat v, const float* inverse, const float* weight, int heads,
                    int head_dim, void* out);

// qkv [N, (heads + 2 kv_heads) * head_dim], f32 or bf16, to bf16 [head][N][PaddedHead], queries, keys and values one
// after the other. With `angles`, cosines and sines [position][head_dim / 2], queries and keys are rotated: element i
// with i + head_dim / 2; a row's position is counted in its segment. Shares of kRotatedRows rows.
constexpr int kRotatedRows = 8;
struct RotateLaunch {
  Rows qkv;
  int rotated_heads = 0, all_heads = 0, head_dim = 0, share_count = 0;
  const float2* angles = nullptr;
  const GridSegment* segments = nullptr;  // frames: rows; height and width: 1
  const Share* shares = nullptr;
  void* out = nullptr;
};
void RunRotateHeads(Launcher& launcher, DType qkv, const RotateLaunch& a);

}  // namespace longtake::cuda

#endif  // LONGTAKE_ENGINE_CUDA_KERNELS_ATTENTION_H_
