// Attention: linear attention with a state, cross-attention to the caption, and softmax attention within a sequence.
#ifndef LONGTAKE_ENGINE_OPS_ATTENTION_H_
#define LONGTAKE_ENGINE_OPS_ATTENTION_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "engine/ops/family.h"
#include "engine/ops/linear_state.h"
#include "engine/ops/segment.h"

namespace longtake {

struct LinearAttentionSegment {
  Segment tokens;
  // Contributions of earlier blocks, oldest first, or one running sum of them. They are added to the segment's own.
  std::span<const LinearAttentionState> history;
  // Outputs of a commit pass; null in denoising passes.
  float* S_out = nullptr;
  float* z_out = nullptr;
  bool store_sum = false;  // store history + own contribution instead of the own contribution
};

// Specification section 3, "Linear self-attention". q and k are RMS-normalized over D and passed through ReLU; copies
// of them are rotated by 3-D rotary positions. Sums are f32.
//
// With `key_gate` it is the attention of SANA-Video 2.0's linear layers: the copies are of q
// and k before the ReLU, and a token's rotated key is multiplied by its gate, so that S = sum of v (gate k~)^T; the
// denominator has no gates, and 1e-8 is added to it instead of 1e-15.
struct LinearAttentionArgs {
  ConstMat qkv;                     // act or f32 [N, 3D]: q | k | v as projected
  const float* q_weight = nullptr;  // [D] RMSNorm weights; both null: no norm
  const float* k_weight = nullptr;
  float norm_eps = 1e-5f;
  int heads = 0, head_dim = 0;
  int64_t rope_max_positions = 1024;  // exclusive upper limit of the position on each axis
  ConstMat key_gate;                  // f32 [N, heads]; null data: none
  std::span<const LinearAttentionSegment> segments;
  Mat out;  // act [N, D]

  float epsilon() const { return key_gate.data == nullptr ? 1e-15f : 1e-8f; }  // of the denominator
};

// Keys and values of one prompt in one layer, in the backend's layout. PrepareCrossKv writes them.
struct CrossKv {
  const std::byte* data = nullptr;
  int64_t tokens = 0;
};

struct PrepareCrossKvArgs {
  ConstMat k, v;                    // act [tokens, h*d] as projected; only tokens whose mask is set
  const float* k_weight = nullptr;  // [h*d] RMSNorm weight; null: no norm
  float norm_eps = 1e-5f;
  int heads = 0, head_dim = 0;
  std::byte* out = nullptr;  // CrossKvBytes(tokens, heads, head_dim) bytes
};

struct CrossAttentionSegment {
  int64_t first_row = 0, rows = 0;
  CrossKv kv;
};

struct CrossAttentionArgs {
  ConstMat q;                       // act [N, h*d] as projected
  const float* q_weight = nullptr;  // [h*d] RMSNorm weight; null: no norm
  float norm_eps = 1e-5f;
  int heads = 0, head_dim = 0;
  std::span<const CrossAttentionSegment> segments;
  Mat out;  // act [N, h*d]
};

struct SoftmaxAttentionSegment {
  int64_t first_row = 0, rows = 0;
  int64_t key_rows = 0;  // keys from here on are padding; at most `rows`
};

// Softmax attention with grouped heads. The text encoder uses it with a causal mask, half-split rotary positions, a
// soft cap and a window; the middle block of the VAE uses none of these. A score is cap * tanh(scale * q.k / cap). Key
// j is masked for query i if j > i (causal), i - j >= window (window > 0) or j >= key_rows.
struct SoftmaxAttentionArgs {
  ConstMat qkv;  // act or f32 [N, (heads + 2 * kv_heads) * head_dim]: q | k | v; products use its type
  int heads = 1, kv_heads = 1, head_dim = 0;
  float scale = 1.f;
  float soft_cap = 0.f;  // 0: none
  bool causal = false;
  int64_t window = 0;      // 0: none
  float rope_theta = 0.f;  // 0: no rotary positions
  std::span<const SoftmaxAttentionSegment> segments;
  Mat out;  // act [N, heads * head_dim]
};

class AttentionOps : public OperationFamily {
 public:
  using OperationFamily::OperationFamily;
  virtual ~AttentionOps() = default;

  void LinearAttention(const LinearAttentionArgs& args);
  // The type in which LinearAttention is best given q, k and v: f32, or act where their memory is what it waits for.
  virtual DType linear_input_type() const { return DType::kF32; }
  virtual size_t CrossKvBytes(int64_t tokens, int heads, int head_dim) const = 0;
  void PrepareCrossKv(const PrepareCrossKvArgs& args);
  void CrossAttention(const CrossAttentionArgs& args);
  void SoftmaxAttention(const SoftmaxAttentionArgs& args);

 private:
  virtual void DoLinearAttention(const LinearAttentionArgs& args) = 0;
  virtual void DoPrepareCrossKv(const PrepareCrossKvArgs& args) = 0;
  virtual void DoCrossAttention(const CrossAttentionArgs& args) = 0;
  virtual void DoSoftmaxAttention(const SoftmaxAttentionArgs& args) = 0;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_OPS_ATTENTION_H_
