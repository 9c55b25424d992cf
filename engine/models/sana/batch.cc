#include "engine/models/sana/batch.h"

#include <algorithm>
#include <cmath>

namespace longtake {

void SanaTransformer::Batch::SetPasses(const Device& device, const SanaConfig& c,
                                       std::span<const TransformerPass> passes) {
  tokens = 0;
  segments.clear();
  timesteps.clear();
  mod_row.clear();
  latents.clear();
  predicted.clear();
  velocities.clear();
  adapted_tokens.clear();
  adapted_timesteps.clear();
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
    // NVlabs' SANA-Video 2.0 cuts every timestep to a whole number.
    for (const float t : p.timesteps) timesteps.push_back(c.hybrid.has_value() ? std::trunc(t) : t);
    if (!p.adapters.empty()) {
      adapted_tokens.push_back({p.adapters, tokens, s.rows()});
      adapted_timesteps.push_back({p.adapters, first_mod, static_cast<int64_t>(p.timesteps.size())});
    }
    latents.push_back(p.latents);
    segments.push_back(s);
    tokens += s.rows();
    if (p.velocity == nullptr) continue;
    predicted.push_back(s);
    velocities.push_back(p.velocity);
  }
  tokens = device.PaddedRows(tokens);
  mod_row.resize(tokens, 0);
  timesteps.resize(device.PaddedRows(static_cast<int64_t>(timesteps.size())), 0.f);
}

void SanaTransformer::Batch::SetLayer(int layer, const Ops& ops, const SanaConfig& c,
                                      std::span<const TransformerPass> passes, Mat y) {
  const int64_t S_floats = c.width() * c.head_dim, layer_floats = S_floats + c.width();
  attention.clear();
  cross.clear();
  tails.clear();
  new_tails.clear();
  history_.clear();
  for (const TransformerPass& pass : passes) {
    for (const float* contribution : pass.history) {
      const float* at = contribution + layer * layer_floats;
      history_.push_back({.S = at, .z = at + S_floats});
    }
  }
  const LinearAttentionState* history = history_.data();
  for (size_t p = 0; p < passes.size(); ++p) {
    const TransformerPass& pass = passes[p];
    const Segment& s = segments[p];
    float* S_out = pass.contribution_out == nullptr ? nullptr : pass.contribution_out + layer * layer_floats;
    attention.push_back({.tokens = s,
                         .history = {history, pass.history.size()},
                         .S_out = S_out,
                         .z_out = S_out == nullptr ? nullptr : S_out + S_floats,
                         .store_sum = pass.store_sum});
    history += pass.history.size();

    const size_t kv_bytes = ops.attention().CrossKvBytes(pass.prompt.tokens, c.cross_heads, c.cross_head_dim);
    cross.push_back({.first_row = s.first_row,
                     .rows = s.rows(),
                     .kv = {static_cast<const std::byte*>(pass.prompt.data) + layer * kv_bytes, pass.prompt.tokens}});

    const int64_t frame_rows = int64_t{s.height} * s.width;
    const size_t tail_bytes = frame_rows * c.width() * SizeOf(y.dtype);
    const auto* tail = static_cast<const std::byte*>(pass.tail);
    tails.push_back(MakeMat(tail == nullptr ? nullptr : tail + layer * tail_bytes, y.dtype, frame_rows, c.width()));
    if (pass.tail_out == nullptr) continue;
    new_tails.push_back({.from = y.Rows(s.first_row + s.rows() - frame_rows, frame_rows).data,
                         .to = static_cast<std::byte*>(pass.tail_out) + layer * tail_bytes,
                         .bytes = tail_bytes});
  }
}

std::span<const LowRankTerm> SanaTransformer::Batch::Terms(std::span<const AdaptedRows> adapted,
                                                           const PackedKernel& kernel) {
  terms_.clear();
  for (const AdaptedRows& rows : adapted) AppendLowRankTerms(rows, kernel, &terms_);
  return terms_;
}

SanaTransformer::Work SanaTransformer::Work::Layout(const SanaConfig& c, Ops& ops, int64_t N, int64_t R, Arena& arena) {
  const DType act = ops.activation_type();
  const int64_t D = c.width();
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
  if (c.hybrid.has_value()) {
    w.TakeHybridLayers(c, act, N, arena);
  } else {
    w.TakeLayers(c, act, ops.attention().linear_input_type(), N, arena);
  }
  return w;
}

void SanaTransformer::Work::TakeLayers(const SanaConfig& c, DType act, DType linear_input, int64_t N, Arena& arena) {
  const int64_t D = c.width(), F = c.ffn_width;
  const size_t shared = arena.Mark();
  qkv = arena.Take(linear_input, N, 3 * D);
  attended = arena.Take(act, N, D);
  arena.Release(shared);
  cross_q = arena.Take(act, N, c.cross_width());
  cross_out = arena.Take(act, N, c.cross_width());
  arena.Release(shared);
  hidden = arena.Take(act, N, 2 * F);
  const size_t behind_hidden = arena.Mark();
  arena.Release(shared);
  y = arena.Take(act, N, D);  // reuses the memory of `hidden`, which is not read once it is gated
  arena.Release(std::max(behind_hidden, arena.Mark()));
  gated = arena.Take(act, N, F);
  arena.Release(shared);
  patches = arena.Take(act, N, c.in_channels * c.patch_elements());
  projected = arena.Take(DType::kF32, N, c.out_channels * c.patch_elements());
}

void SanaTransformer::Work::TakeHybridLayers(const SanaConfig& c, DType act, int64_t N, Arena& arena) {
  const int64_t D = c.width(), F = c.ffn_width;
  for (int i = 0; i < c.hybrid->Blocks(c.layers); ++i) hybrid.blocks.push_back(arena.Take(DType::kF32, N, D));
  hybrid.stream = arena.Take(DType::kF32, N, D);
  const size_t shared = arena.Mark();
  hybrid.gate = arena.Take(act, N, D);
  attended = arena.Take(act, N, D);
  const size_t behind_attended = arena.Mark();
  qkv = arena.Take(DType::kF32, N, 3 * D);
  hybrid.rotated = arena.Take(act, N, 3 * D);
  hybrid.beta = arena.Take(DType::kF32, N, c.heads);
  arena.Release(behind_attended);
  hybrid.projected = arena.Take(DType::kF32, N, D);
  arena.Release(shared);
  cross_q = arena.Take(act, N, c.cross_width());
  cross_out = arena.Take(act, N, c.cross_width());
  arena.Release(shared);
  hidden = arena.Take(act, N, F);
  hybrid.up = arena.Take(act, N, F);
  arena.Release(shared);
  patches = arena.Take(act, N, c.in_channels * c.patch_elements());
  projected = arena.Take(DType::kF32, N, c.out_channels * c.patch_elements());
}

}  // namespace longtake
