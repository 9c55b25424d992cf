#include "engine/models/sana/transformer.h"

#include "engine/models/sana/weights.h"

namespace longtake {

// A batch's token layout, in host memory.
struct SanaTransformer::Batch {
  std::vector<Segment> segments;
  std::vector<float> timesteps;    // all passes', in order: the modulation rows; zeros behind
  std::vector<int32_t> mod_row;    // of each token
  std::vector<const void*> tails;  // of each pass, in the layer being run
  std::vector<LinearAttentionSegment> attention;
  std::vector<CrossAttentionSegment> cross;
  int64_t tokens = 0;

  // Rows and modulation rows are as many as the backend likes to have (Ops::PaddedRows).
  Batch(const Ops& ops, const SanaConfig& c, std::span<const TransformerPass> passes) {
    for (const TransformerPass& p : passes) {
      const Segment s{.first_row = tokens,
                      .frames = p.frames / c.patch[0],
                      .height = p.height / c.patch[1],
                      .width = p.width / c.patch[2],
                      .first_frame = p.first_frame};
      const auto first_mod = static_cast<int32_t>(timesteps.size());
      const bool per_frame = p.timesteps.size() > 1;
      for (int f = 0; f < s.frames; ++f) {
        mod_row.insert(mod_row.end(), int64_t{s.height} * s.width, first_mod + (per_frame ? f : 0));
      }
      timesteps.insert(timesteps.end(), p.timesteps.begin(), p.timesteps.end());
      segments.push_back(s);
      tokens += s.rows();
    }
    tokens = ops.PaddedRows(tokens);
    mod_row.resize(tokens, 0);
    timesteps.resize(ops.PaddedRows(static_cast<int64_t>(timesteps.size())), 0.f);
    tails.resize(passes.size());
    attention.resize(passes.size());
    cross.resize(passes.size());
  }
};

// Scratch of a batch. `act` buffers hold what matrix products read; the residual stream h stays f32.
struct SanaTransformer::Work {
  Mat h;                   // f32 [N, D]
  Mat normed;              // act [N, D]
  Mat qkv;                 // f32 [N, 3D]: sums of its products are the state, which bf16 would round twice
  Mat attended;            // act [N, D]
  Mat cross_q, cross_out;  // act [N, cross width]
  Mat hidden;              // act [N, 2F]; shares memory with the attention's buffers, which are dead by then
  Mat gated;               // act [N, F]
  Mat y;                   // act [N, D]: the FFN before its temporal convolution; it alone is read for the tail
  Mat patches;             // act [N, C * patch]
  Mat projected;           // f32 [N, patch * C_out]
  Mat sinusoids, time_hidden, time_act;    // act [R, 256], [R, D], [R, D]
  Mat embedded;                            // f32 [R, D]: e of the specification
  Mat modulation;                          // f32 [R, 6D]: t6
  Mat layer_modulation, final_modulation;  // f32 [R, 6D], [R, 2D]

  static Work Layout(const SanaConfig& c, DType act, int64_t N, int64_t R, Arena& arena) {
    const int64_t D = c.width(), F = c.ffn_width;
    Work w;
    w.h = arena.Take(DType::kF32, N, D);
    w.normed = arena.Take(act, N, D);
    w.sinusoids = arena.Take(act, R, 256);
    w.time_hidden = arena.Take(act, R, D);
    w.time_act = arena.Take(act, R, D);
    w.embedded = arena.Take(DType::kF32, R, D);
    w.modulation = arena.Take(DType::kF32, R, 6 * D);
    w.layer_modulation = arena.Take(DType::kF32, R, 6 * D);
    w.final_modulation = arena.Take(DType::kF32, R, 2 * D);
    const size_t shared = arena.Mark();
    w.qkv = arena.Take(DType::kF32, N, 3 * D);
    w.attended = arena.Take(act, N, D);
    arena.Release(shared);
    w.cross_q = arena.Take(act, N, c.cross_width());
    w.cross_out = arena.Take(act, N, c.cross_width());
    arena.Release(shared);
    w.hidden = arena.Take(act, N, 2 * F);
    const size_t behind_hidden = arena.Mark();
    arena.Release(shared);
    w.y = arena.Take(act, N, D);  // over `hidden`, which is dead once gated
    arena.Release(std::max(behind_hidden, arena.Mark()));
    w.gated = arena.Take(act, N, F);
    arena.Release(shared);
    w.patches = arena.Take(act, N, c.in_channels * c.patch_elements());
    w.projected = arena.Take(DType::kF32, N, c.out_channels * c.patch_elements());
    return w;
  }
};

int64_t SanaTransformer::Tokens(int frames, int height, int width) const {
  return int64_t{frames / config_.patch[0]} * (height / config_.patch[1]) * (width / config_.patch[2]);
}

size_t SanaTransformer::ScratchBytes(int64_t tokens, int64_t timestep_rows) const {
  Arena arena;
  Work::Layout(config_, ops_.activation_type(), ops_.PaddedRows(tokens), ops_.PaddedRows(timestep_rows), arena);
  return arena.peak();
}

size_t SanaTransformer::PromptBytes(int64_t caption_tokens) const {
  return config_.layers * ops_.CrossKvBytes(caption_tokens, config_.cross_heads, config_.cross_head_dim);
}

size_t SanaTransformer::ContributionBytes() const {
  return sizeof(float) * config_.layers * config_.width() * (config_.head_dim + 1);
}

size_t SanaTransformer::TailBytes(int height, int width) const {
  return SizeOf(ops_.activation_type()) * config_.layers * Tokens(config_.patch[0], height, width) * config_.width();
}

namespace {

// Scratch of EncodePrompt.
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

size_t SanaTransformer::PromptScratchBytes(int64_t caption_tokens) const {
  Arena arena;
  PromptWork::Layout(config_, ops_.activation_type(), caption_tokens, arena);
  return arena.peak();
}

void SanaTransformer::EncodePrompt(ConstMat caption, void* scratch, void* out) const {
  constexpr float kCaptionNormEps = 1e-5f;
  Arena arena(scratch);
  const PromptWork w = PromptWork::Layout(config_, ops_.activation_type(), caption.rows, arena);
  ops_.Convert(caption, w.caption);
  ops_.Linear(*weights_->caption_1, w.caption, {.activation = Activation::kGeluTanh}, w.hidden);
  ops_.Linear(*weights_->caption_2, w.hidden, {}, w.embedded);
  ops_.RmsNorm(w.embedded, weights_->caption_norm->f32(), 0.f, kCaptionNormEps, false, w.normed);
  const size_t layer_bytes = PromptBytes(caption.rows) / config_.layers;
  for (int i = 0; i < config_.layers; ++i) {
    const Layer& l = weights_->layers[i];
    ops_.Linear(*l.cross_k, w.normed, {}, w.k);
    ops_.Linear(*l.cross_v, w.normed, {}, w.v);
    ops_.PrepareCrossKv(w.k, w.v, FloatsOrNull(l.cross_k_norm), 1e-5f, config_.cross_heads, config_.cross_head_dim,
                        static_cast<std::byte*>(out) + i * layer_bytes);
  }
}

// Timesteps to e and t6: one row a timestep.
void SanaTransformer::Condition(const Batch& batch, const Work& w) const {
  ops_.TimestepSinusoids(batch.timesteps, w.sinusoids);
  ops_.Linear(*weights_->time_1, w.sinusoids, {.activation = Activation::kSilu}, w.time_hidden);
  ops_.Linear(*weights_->time_2, w.time_hidden, {}, w.embedded);
  ops_.Activate(w.embedded, Activation::kSilu, w.time_act);
  ops_.Linear(*weights_->time_modulation, w.time_act, {}, w.modulation);
}

void SanaTransformer::RunLayer(int index, std::span<const TransformerPass> passes, const Batch& b,
                               const Work& w) const {
  const Layer& l = weights_->layers[index];
  const int64_t D = config_.width();

  ops_.AddRow(w.modulation, l.table->f32(), w.layer_modulation);
  const int64_t stride = w.layer_modulation.stride;
  auto mod = [&](int part) { return static_cast<const float*>(w.layer_modulation.data) + part * D; };
  auto gated = [&](int part) {
    return Epilogue{.residual = true, .gate = mod(part), .gate_stride = stride, .mod_row = b.mod_row};
  };

  // x += gate1 * SelfAttention(LN(x) (1 + scale1) + shift1)
  ops_.LayerNormModulate(w.h, config_.norm_eps, mod(0), mod(1), stride, b.mod_row, w.normed);
  ops_.Linear(*l.qkv, w.normed, {}, w.qkv);
  ops_.LinearAttention({.qkv = w.qkv,
                        .q_weight = FloatsOrNull(l.q_norm),
                        .k_weight = FloatsOrNull(l.k_norm),
                        .heads = config_.heads,
                        .head_dim = config_.head_dim,
                        .rope_max_positions = config_.rope_max_positions,
                        .segments = b.attention,
                        .out = w.attended});
  ops_.Linear(*l.out, w.attended, gated(2), w.h);

  // x += CrossAttention(x, caption)
  ops_.Convert(w.h, w.normed);
  ops_.Linear(*l.cross_q, w.normed, {}, w.cross_q);
  ops_.CrossAttention({.q = w.cross_q,
                       .q_weight = FloatsOrNull(l.cross_q_norm),
                       .heads = config_.cross_heads,
                       .head_dim = config_.cross_head_dim,
                       .segments = b.cross,
                       .out = w.cross_out});
  ops_.Linear(*l.cross_out, w.cross_out, {.residual = true}, w.h);

  // x += gate2 * FFN(LN(x) (1 + scale2) + shift2)
  ops_.LayerNormModulate(w.h, config_.norm_eps, mod(3), mod(4), stride, b.mod_row, w.normed);
  ops_.Linear(*l.inverted, w.normed, {.activation = Activation::kSilu}, w.hidden);
  ops_.DepthwiseGlu(*l.depthwise, w.hidden, b.segments, w.gated);
  ops_.Linear(*l.point, w.gated, {}, w.y);
  ops_.TemporalConv(*l.temporal, w.y, b.segments, b.tails, gated(5), w.h);
  std::vector<Ops::CopyPart> tails;
  for (size_t i = 0; i < passes.size(); ++i) {
    if (passes[i].tail_out == nullptr) continue;
    const Segment& s = b.segments[i];
    const int64_t frame_rows = int64_t{s.height} * s.width;
    const Mat last = w.y.Rows(s.first_row + s.rows() - frame_rows, frame_rows);
    const size_t bytes = frame_rows * D * SizeOf(last.dtype);
    tails.push_back({last.data, static_cast<std::byte*>(passes[i].tail_out) + index * bytes, bytes});
  }
  ops_.CopyEach(tails);
}

void SanaTransformer::Forward(std::span<const TransformerPass> passes, void* scratch) const {
  ops_.RunPass([&] { RunForward(passes, scratch); });
}

void SanaTransformer::RunForward(std::span<const TransformerPass> passes, void* scratch) const {
  const SanaConfig& c = config_;
  Batch b(ops_, c, passes);
  Arena arena(scratch);
  const Work w = Work::Layout(c, ops_.activation_type(), b.tokens, static_cast<int64_t>(b.timesteps.size()), arena);
  const int64_t D = c.width();

  std::vector<const float*> latents;
  for (const TransformerPass& p : passes) latents.push_back(p.latents);
  ops_.Patchify(latents, b.segments, c.in_channels, c.patch, w.patches);
  ops_.Linear(*weights_->patch_embedding, w.patches, {}, w.h);
  Condition(b, w);

  const int64_t S_floats = D * c.head_dim, layer_floats = S_floats + D;
  for (int i = 0; i < c.layers; ++i) {
    for (size_t p = 0; p < passes.size(); ++p) {
      const TransformerPass& pass = passes[p];
      const Segment& s = b.segments[p];
      LinearAttentionSegment& a = b.attention[p];
      a.tokens = s;
      a.history.clear();
      for (const float* past : pass.history) {
        const float* at = past + i * layer_floats;
        a.history.push_back({.S = at, .z = at + S_floats});
      }
      a.store_sum = pass.store_sum;
      a.S_out = pass.contribution_out == nullptr ? nullptr : pass.contribution_out + i * layer_floats;
      a.z_out = a.S_out == nullptr ? nullptr : a.S_out + S_floats;
      const size_t kv_bytes = ops_.CrossKvBytes(pass.prompt.tokens, c.cross_heads, c.cross_head_dim);
      b.cross[p] = {.first_row = s.first_row,
                    .rows = s.rows(),
                    .kv = {static_cast<const std::byte*>(pass.prompt.data) + i * kv_bytes, pass.prompt.tokens}};
      const size_t tail_bytes = int64_t{s.height} * s.width * D * SizeOf(w.y.dtype);
      b.tails[p] = pass.tail == nullptr ? nullptr : static_cast<const std::byte*>(pass.tail) + i * tail_bytes;
    }
    RunLayer(i, passes, b, w);
  }

  // Commit passes want no velocity; in a batch of them alone the final layer is left out.
  std::vector<float*> velocities;
  std::vector<Segment> wanted;
  for (size_t p = 0; p < passes.size(); ++p) {
    if (passes[p].velocity == nullptr) continue;
    velocities.push_back(passes[p].velocity);
    wanted.push_back(b.segments[p]);
  }
  if (wanted.empty()) return;
  // (shift, scale) = table + e, the same e for both.
  const float* table = weights_->final_table->f32();
  ops_.AddRow(w.embedded, table, w.final_modulation.Cols(0, D));
  ops_.AddRow(w.embedded, table + D, w.final_modulation.Cols(D, D));
  const float* shift = static_cast<const float*>(w.final_modulation.data);
  ops_.LayerNormModulate(w.h, 1e-6f, shift, shift + D, w.final_modulation.stride, b.mod_row, w.normed);
  ops_.Linear(*weights_->final_projection, w.normed, {}, w.projected);
  ops_.Unpatchify(w.projected, wanted, c.out_channels, c.patch, velocities);
}

}  // namespace longtake
