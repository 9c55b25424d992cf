// Linear self-attention with state: norm, ReLU and rotary positions of q and k, the sums S and z, and every token's
// output. reference/attention.cc (AttendSegment) defines it.
//
// Four launches. 1: 1/rms of each row of q and k (norms.h). 2: each block sums S and z over 608 tokens of one session
// and head, on the tensor cores in TF32 with float32 sums. 3: those partial sums are added in the order of the tokens,
// to the history's, oldest first. 4: the outputs.
//
// Bytes do not depend on the batch: partial sums are cut from the session's own first token, each has one block, and
// they are added by one thread an element in a fixed order. Nothing is added atomically.
//
// TF32 and not bf16: normed and rotated keys are float32, and S is a session's state, summed over the whole video; ten
// bits of mantissa keep their products eight times as exact as bf16's seven.
#ifndef LONGTAKE_ENGINE_CUDA_KERNELS_LINEAR_ATTENTION_H_
#define LONGTAKE_ENGINE_CUDA_KERNELS_LINEAR_ATTENTION_H_

#include <cstdint>

#include "engine/core/tensor.h"
#include "engine/cuda/kernels/rotary_axes.h"
#include "engine/cuda/kernels/segments.h"
#include "engine/cuda/launcher.h"

namespace longtake::cuda {

// Tokens of one partial sum. At 15 600 tokens and 20 heads they make 520 blocks, just less than the 528 that 132
// multiprocessors have in two rounds; 512 tokens would make a third round that is a third full.
constexpr int kStateTokens = 608;
// Tokens of one block of the outputs: S (50 KB) is read once for q rows of 115 KB.
constexpr int kOutputTokens = 256;

struct StatePart {
  const float* S = nullptr;
  const float* z = nullptr;
};

// One session, in device memory.
struct LinearSegment {
  GridSegment grid;
  int32_t first_partial = 0, partials = 0;   // of kStateTokens each
  int32_t first_history = 0, histories = 0;  // into `history`
  float* S_out = nullptr;                    // null: not stored
  float* z_out = nullptr;
  int32_t store_sum = 0;
};

struct LinearAttentionLaunch {
  Rows qkv;  // f32 or bf16 [N, 3D]; pairs of columns aligned
  const float* q_weight = nullptr;
  const float* k_weight = nullptr;
  const float* q_inverse = nullptr;  // 1/rms of each row; null with the weight
  const float* k_inverse = nullptr;
  const float* key_gate = nullptr;  // [N, heads], rows key_gate_stride apart; null: plain keys
  int64_t key_gate_stride = 0;
  int heads = 0, head_dim = 0;  // head_dim even
  RotaryAxes rotary;
  // On the device. The shares' order is that of the partial sums.
  const LinearSegment* segments = nullptr;
  int64_t segment_count = 0;
  const StatePart* history = nullptr;
  const Share* state_shares = nullptr;
  int64_t state_share_count = 0;
  const Share* output_shares = nullptr;
  int64_t output_share_count = 0;
  // Scratch: state_share_count and segment_count times StateFloats() * heads.
  float* partials = nullptr;
  float* sums = nullptr;
  MutableRows out;  // bf16 [N, D]

  __host__ __device__ int64_t StateFloats() const { return int64_t{head_dim} * (head_dim + 1); }
};

void RunLinearAttention(Launcher& launcher, DType qkv, const LinearAttentionLaunch& a);

}  // namespace longtake::cuda

#endif  // LONGTAKE_ENGINE_CUDA_KERNELS_LINEAR_ATTENTION_H_
