#include "engine/models/sana/transformer.h"

#include <functional>

#include "engine/models/sana/batch.h"
#include "engine/models/sana/weights.h"

namespace longtake {
namespace {

constexpr float kFinalNormEps = 1e-6f;

// Workspace of EncodePrompt.
struct PromptWork {
  Mat caption, hidden, embedded, normed, k, v;

  static PromptWork Layout(const SanaConfig& c, DType act, int64_t L, Arena& arena) {
    return {.caption = arena.Take(act, L, c.caption_channels),
            .hidden = arena.Take(act, L, c.width()),
            .embedded = arena.Take(DType::kF32, L, c.width()),
            .normed = arena.Take(act, L, c.width()),
            .k = arena.Take(act, L, c.cross_width()),
            .v = arena.Take(act, L, c.cross_width())};
  }
};

const float* FloatsOrNull(const std::unique_ptr<Buffer>& b) { return b == nullptr ? nullptr : b->f32(); }

}  // namespace

SanaTransformer::SanaTransformer(Ops& ops, const SanaConfig& config)
    : ops_(ops), config_(config), batch_(std::make_unique<Batch>()) {}
SanaTransformer::~SanaTransformer() = default;

int64_t SanaTransformer::Tokens(int frames, int height, int width) const {
  return int64_t{frames / config_.patch[0]} * (height / config_.patch[1]) * (width / config_.patch[2]);
}

size_t SanaTransformer::ScratchBytes(int64_t tokens, int64_t timestep_rows) const {
  Arena arena;
  Work::Layout(config_, ops_, ops_.device().PaddedRows(tokens), ops_.device().PaddedRows(timestep_rows), arena);
  return arena.peak();
}

size_t SanaTransformer::PromptBytes(int64_t caption_tokens) const {
  return config_.layers * ops_.attention().CrossKvBytes(caption_tokens, config_.cross_heads, config_.cross_head_dim);
}

size_t SanaTransformer::ContributionBytes() const {
  return sizeof(float) * config_.layers * config_.width() * (config_.head_dim + 1);
}

size_t SanaTransformer::TailBytes(int height, int width) const {
  return SizeOf(ops_.activation_type()) * config_.layers * Tokens(config_.patch[0], height, width) * config_.width();
}

size_t SanaTransformer::PromptScratchBytes(int64_t caption_tokens) const {
  Arena arena;
  PromptWork::Layout(config_, ops_.activation_type(), caption_tokens, arena);
  return arena.peak();
}

void SanaTransformer::EncodePrompt(ConstMat caption, std::span<const AppliedAdapter> adapters, void* scratch,
                                   void* out) const {
  constexpr float kCaptionNormEps = 1e-5f;
  Arena arena(scratch);
  const PromptWork w = PromptWork::Layout(config_, ops_.activation_type(), caption.rows, arena);
  std::vector<LowRankTerm> terms;
  const auto linear = [&](const PackedKernel& kernel, Mat x, Activation activation, Mat y) {
    terms.clear();
    AppendLowRankTerms({adapters, 0, caption.rows}, kernel, &terms);
    ops_.dense().Linear({.kernel = kernel, .x = x, .low_rank = terms, .epilogue = {.activation = activation}, .y = y});
  };
  ops_.elementwise().Convert(caption, w.caption);
  linear(*weights_->caption_1, w.caption, Activation::kGeluTanh, w.hidden);
  linear(*weights_->caption_2, w.hidden, Activation::kNone, w.embedded);
  ops_.norm().RmsNorm(
      {.x = w.embedded, .weight = weights_->caption_norm->f32(), .eps = kCaptionNormEps, .y = w.normed});
  const size_t layer_bytes = PromptBytes(caption.rows) / config_.layers;
  const auto prepare = [&](int i, const auto& layer) {
    linear(*layer.cross_k, w.normed, Activation::kNone, w.k);
    linear(*layer.cross_v, w.normed, Activation::kNone, w.v);
    ops_.attention().PrepareCrossKv({.k = w.k,
                                     .v = w.v,
                                     .k_weight = FloatsOrNull(layer.cross_k_norm),
                                     .norm_eps = config_.cross_norm_eps,
                                     .heads = config_.cross_heads,
                                     .head_dim = config_.cross_head_dim,
                                     .out = static_cast<std::byte*>(out) + i * layer_bytes});
  };
  for (int i = 0; i < config_.layers; ++i) {
    if (config_.hybrid.has_value()) {
      prepare(i, weights_->hybrid_layers[i]);
    } else {
      prepare(i, weights_->layers[i]);
    }
  }
}

// Computes e and t6 of the specification, one row a timestep.
void SanaTransformer::Condition(Batch& batch, const Work& w) const {
  const auto linear = [&](const PackedKernel& kernel, Mat x, Activation activation, Mat y) {
    ops_.dense().Linear({.kernel = kernel,
                         .x = x,
                         .low_rank = batch.TimestepTerms(kernel),
                         .epilogue = {.activation = activation},
                         .y = y});
  };
  ops_.sampler().TimestepSinusoids(batch.timesteps, w.sinusoids);
  linear(*weights_->time_1, w.sinusoids, Activation::kSilu, w.time_hidden);
  linear(*weights_->time_2, w.time_hidden, Activation::kNone, w.embedded);
  ops_.elementwise().Activate(w.embedded, Activation::kSilu, w.time_act);
  linear(*weights_->time_modulation, w.time_act, Activation::kNone, w.modulation);
}

void SanaTransformer::RunLayer(const Layer& l, Batch& b, const Work& w) const {
  const int64_t D = config_.width();
  const auto linear = [&](const PackedKernel& kernel, Mat x, const Epilogue& epilogue, Mat y) {
    ops_.dense().Linear({.kernel = kernel, .x = x, .low_rank = b.TokenTerms(kernel), .epilogue = epilogue, .y = y});
  };

  ops_.elementwise().AddRow(w.modulation, l.table->f32(), w.layer_modulation);
  const int64_t stride = w.layer_modulation.stride;
  const auto mod = [&](int part) { return static_cast<const float*>(w.layer_modulation.data) + part * D; };
  // normed = LN(h) (1 + scale) + shift
  const auto norm = [&](int shift, int scale) {
    ops_.norm().LayerNorm({.x = w.h,
                           .eps = config_.norm_eps,
                           .shift = mod(shift),
                           .scale = mod(scale),
                           .mod_stride = stride,
                           .mod_row = b.mod_row,
                           .y = w.normed});
  };
  const auto gated = [&](int part) {
    return Epilogue{.residual = true, .gate = mod(part), .gate_stride = stride, .mod_row = b.mod_row};
  };

  // h += gate1 * SelfAttention(LN(h) (1 + scale1) + shift1)
  norm(0, 1);
  linear(*l.qkv, w.normed, {}, w.qkv);
  ops_.attention().LinearAttention({.qkv = w.qkv,
                                    .q_weight = FloatsOrNull(l.q_norm),
                                    .k_weight = FloatsOrNull(l.k_norm),
                                    .heads = config_.heads,
                                    .head_dim = config_.head_dim,
                                    .rope_max_positions = config_.rope_max_positions,
                                    .segments = b.attention,
                                    .out = w.attended});
  linear(*l.out, w.attended, gated(2), w.h);

  // h += CrossAttention(h, caption)
  ops_.elementwise().Convert(w.h, w.normed);
  linear(*l.cross_q, w.normed, {}, w.cross_q);
  ops_.attention().CrossAttention({.q = w.cross_q,
                                   .q_weight = FloatsOrNull(l.cross_q_norm),
                                   .norm_eps = config_.cross_norm_eps,
                                   .heads = config_.cross_heads,
                                   .head_dim = config_.cross_head_dim,
                                   .segments = b.cross,
                                   .out = w.cross_out});
  linear(*l.cross_out, w.cross_out, {.residual = true}, w.h);

  // h += gate2 * FFN(LN(h) (1 + scale2) + shift2)
  norm(3, 4);
  const bool at_reading = ops_.convolution().activates_at_reading();
  linear(*l.inverted, w.normed, {.activation = at_reading ? Activation::kNone : Activation::kSilu}, w.hidden);
  ops_.convolution().DepthwiseGlu({.kernel = *l.depthwise,
                                   .x = w.hidden,
                                   .segments = b.segments,
                                   .y = w.gated,
                                   .activation = at_reading ? Activation::kSilu : Activation::kNone});
  linear(*l.point, w.gated, {}, w.y);
  ops_.convolution().TemporalConv({.kernel = *l.temporal,
                                   .x = w.y,
                                   .low_rank = b.TokenTerms(*l.temporal),
                                   .segments = b.segments,
                                   .tails = b.tails,
                                   .epilogue = gated(5),
                                   .out = w.h});
  ops_.device().CopyEach(b.new_tails);
}

void SanaTransformer::PredictVelocity(const Mat& h, Batch& b, const Work& w) const {
  const int64_t D = config_.width();
  // (shift, scale) = table + e, with the same e for both.
  const float* table = weights_->final_table->f32();
  ops_.elementwise().AddRow(w.embedded, table, w.final_modulation.Cols(0, D));
  ops_.elementwise().AddRow(w.embedded, table + D, w.final_modulation.Cols(D, D));
  const float* shift = static_cast<const float*>(w.final_modulation.data);
  ops_.norm().LayerNorm({.x = h,
                         .eps = kFinalNormEps,
                         .shift = shift,
                         .scale = shift + D,
                         .mod_stride = w.final_modulation.stride,
                         .mod_row = b.mod_row,
                         .y = w.normed});
  ops_.dense().Linear({.kernel = *weights_->final_projection,
                       .x = w.normed,
                       .low_rank = b.TokenTerms(*weights_->final_projection),
                       .y = w.projected});
  ops_.latents().Unpatchify({.tokens = w.projected,
                             .segments = b.predicted,
                             .channels = config_.out_channels,
                             .patch = config_.patch,
                             .latents = b.velocities});
}

void SanaTransformer::Forward(std::span<const TransformerPass> passes, void* scratch) const {
  const auto run = [&] { RunForward(passes, scratch); };
  ops_.device().RunPass(std::ref(run));  // a reference, because std::function would allocate a copy of the lambda
}

void SanaTransformer::RunForward(std::span<const TransformerPass> passes, void* scratch) const {
  const SanaConfig& c = config_;
  Batch& b = *batch_;
  b.SetPasses(ops_.device(), c, passes);
  Arena arena(scratch);
  const Work w = Work::Layout(c, ops_, b.tokens, static_cast<int64_t>(b.timesteps.size()), arena);
  ops_.latents().Patchify(
      {.latents = b.latents, .segments = b.segments, .channels = c.in_channels, .patch = c.patch, .tokens = w.patches});
  ops_.dense().Linear({.kernel = *weights_->patch_embedding,
                       .x = w.patches,
                       .low_rank = b.TokenTerms(*weights_->patch_embedding),
                       .y = w.h});
  Condition(b, w);
  for (int i = 0; i < c.layers; ++i) {
    b.SetLayer(i, ops_, c, passes, c.hybrid.has_value() ? w.normed : w.y);
    if (c.hybrid.has_value()) {
      RunHybridLayer(i, b, w);
    } else {
      RunLayer(weights_->layers[i], b, w);
    }
  }
  // Commit passes output no velocity. A batch of only commit passes skips the final layer.
  if (b.predicted.empty()) return;
  if (c.hybrid.has_value()) {
    std::vector<ConstMat> sources = {w.h};
    sources.insert(sources.end(), w.hybrid.blocks.begin(), w.hybrid.blocks.end());
    ops_.hybrid().DepthAttention({.sources = sources, .weight = weights_->final_depth->f32(), .out = w.hybrid.stream});
  }
  PredictVelocity(c.hybrid.has_value() ? w.hybrid.stream : w.h, b, w);
}

}  // namespace longtake
