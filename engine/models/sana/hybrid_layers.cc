// The layers of SANA-Video 2.0: self-attention that is linear in most layers and softmax in some, cross-attention, and
// a SwiGLU FFN. In place of the residual stream x += ... there is attention over depth: with B_0 the embedded tokens,
// B_1, B_2, ... the sums of what each finished block of layers has added, and P the sum in the block under way, a
// sub-layer reads u = gather(B_0, B_1, ..., P) and adds to P.
#include <cmath>
#include <cstdint>
#include <vector>

#include "engine/models/sana/batch.h"
#include "engine/models/sana/weights.h"

namespace longtake {

void SanaTransformer::RunHybridLayer(int layer, Batch& b, const Work& w) const {
  const HybridLayer& l = weights_->hybrid_layers[layer];
  const HybridConfig& hybrid = *config_.hybrid;
  const int64_t D = config_.width();
  const int block = layer / hybrid.residual_block;
  const bool begins = layer % hybrid.residual_block == 0;
  const Mat &u = w.hybrid.stream, &P = w.hybrid.blocks[block];

  std::vector<ConstMat> sources = {w.h};
  sources.insert(sources.end(), w.hybrid.blocks.begin(), w.hybrid.blocks.begin() + block);
  if (!begins) sources.push_back(P);

  const auto linear = [&](const PackedKernel& kernel, Mat x, const Epilogue& epilogue, Mat y) {
    ops_.dense().Linear({.kernel = kernel, .x = x, .low_rank = b.TokenTerms(kernel), .epilogue = epilogue, .y = y});
  };
  ops_.elementwise().AddRow(w.modulation, l.table->f32(), w.layer_modulation);
  const int64_t stride = w.layer_modulation.stride;
  const auto mod = [&](int part) { return static_cast<const float*>(w.layer_modulation.data) + part * D; };
  // u = gather(weight; sources), normed = LN(u) (1 + scale) + shift
  const auto read = [&](Buffer& weight, int shift, int scale) {
    ops_.hybrid().DepthAttention({.sources = sources, .weight = weight.f32(), .out = u});
    ops_.norm().LayerNorm({.x = u,
                           .eps = config_.norm_eps,
                           .shift = mod(shift),
                           .scale = mod(scale),
                           .mod_stride = stride,
                           .mod_row = b.mod_row,
                           .y = w.normed});
  };

  // a = gate1 * SelfAttention(...); u += a; P += a
  read(*weights_->attention_depth, 0, 1);
  linear(*l.qkv, w.normed, {}, w.qkv);
  if (l.softmax) {
    const int heads = static_cast<int>(D / hybrid.softmax_head_dim);
    ops_.hybrid().RotateOnGrid({.qkv = w.qkv,
                                .q_weight = l.q_norm->f32(),
                                .k_weight = l.k_norm->f32(),
                                .heads = heads,
                                .head_dim = hybrid.softmax_head_dim,
                                .rope_max_positions = config_.rope_max_positions,
                                .segments = b.segments,
                                .out = w.hybrid.rotated});
    std::vector<SoftmaxAttentionSegment> segments;
    for (const Segment& s : b.segments) segments.push_back({s.first_row, s.rows(), s.rows()});
    ops_.attention().SoftmaxAttention({.qkv = w.hybrid.rotated,
                                       .heads = heads,
                                       .kv_heads = heads,
                                       .head_dim = hybrid.softmax_head_dim,
                                       .scale = 1.f / std::sqrt(static_cast<float>(hybrid.softmax_head_dim)),
                                       .segments = segments,
                                       .out = w.attended});
  } else {
    linear(*l.beta, w.normed, {.activation = Activation::kSigmoid}, w.hybrid.beta);
    ops_.attention().LinearAttention({.qkv = w.qkv,
                                      .q_weight = l.q_norm->f32(),
                                      .k_weight = l.k_norm->f32(),
                                      .heads = config_.heads,
                                      .head_dim = config_.head_dim,
                                      .rope_max_positions = config_.rope_max_positions,
                                      .key_gate = w.hybrid.beta,
                                      .segments = b.attention,
                                      .out = w.attended});
  }
  linear(*l.output_gate, w.normed, {.activation = Activation::kSigmoid}, w.hybrid.gate);
  ops_.hybrid().GateHeads({.x = w.attended,
                           .gate = w.hybrid.gate,
                           .weight = l.head_norm == nullptr ? nullptr : l.head_norm->f32(),
                           .head_dim = config_.head_dim,
                           .y = w.attended});
  linear(*l.out, w.attended, {}, w.hybrid.projected);
  ops_.hybrid().AddBranch({.x = w.hybrid.projected,
                           .gate = mod(2),
                           .gate_stride = stride,
                           .mod_row = b.mod_row,
                           .begins = begins,
                           .stream = u,
                           .branch = P});

  // P += CrossAttention(u, caption)
  ops_.elementwise().Convert(u, w.normed);
  linear(*l.cross_q, w.normed, {}, w.cross_q);
  ops_.attention().CrossAttention({.q = w.cross_q,
                                   .q_weight = l.cross_q_norm->f32(),
                                   .norm_eps = config_.cross_norm_eps,
                                   .heads = config_.cross_heads,
                                   .head_dim = config_.cross_head_dim,
                                   .segments = b.cross,
                                   .out = w.cross_out});
  linear(*l.cross_out, w.cross_out, {.residual = true}, P);

  // P += gate2 * FFN(...), where FFN(x) = down(SiLU(gate(x)) * up(x))
  if (begins) sources.push_back(P);
  read(*weights_->ffn_depth, 3, 4);
  linear(*l.gate, w.normed, {.activation = Activation::kSilu}, w.hidden);
  linear(*l.up, w.normed, {}, w.hybrid.up);
  ops_.hybrid().GateHeads(
      {.x = w.hybrid.up, .gate = w.hidden, .head_dim = static_cast<int>(config_.ffn_width), .y = w.hidden});
  linear(*l.down, w.hidden, {.residual = true, .gate = mod(5), .gate_stride = stride, .mod_row = b.mod_row}, P);
}

}  // namespace longtake
