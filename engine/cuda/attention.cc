#include "engine/cuda/kernels/attention.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "engine/cuda/families.h"
#include "engine/cuda/kernels/linear_attention.h"
#include "engine/cuda/kernels/norms.h"
#include "engine/cuda/segment_tables.h"

namespace longtake::cuda {
namespace {

class CudaAttention final : public AttentionOps {
 public:
  CudaAttention(FamilyContext* family, StreamState& state) : AttentionOps(family), state_(state) {}

  // Its kernels wait for the memory of q, k and v, which torch has in bf16, too.
  DType linear_input_type() const override { return DType::kBF16; }
  // Layout: keys, then values, bf16 [head][token][PaddedHead].
  size_t CrossKvBytes(int64_t tokens, int heads, int head_dim) const override {
    return 2 * tokens * heads * PaddedHead(head_dim) * SizeOf(DType::kBF16);
  }

 private:
  void DoLinearAttention(const LinearAttentionArgs& args) override {
    const int d = args.head_dim;
    const int64_t D = int64_t{args.heads} * d, rows = args.qkv.rows;
    Launcher& launcher = context().launcher();
    Staging& staging = context().staging();

    std::vector<LinearSegment> segments;
    std::vector<StatePart> history;
    const auto tokens = [](const LinearAttentionSegment& s) { return s.tokens.rows(); };
    const std::vector<Share> state_shares = PaddedShares(context(), CutShares(args.segments, kStateTokens, tokens));
    const std::vector<Share> output_shares = PaddedShares(context(), CutShares(args.segments, kOutputTokens, tokens));
    int32_t partials = 0;
    for (const LinearAttentionSegment& s : args.segments) {
      LinearSegment segment = {.grid = ToGrid(s.tokens),
                               .first_partial = partials,
                               .partials = static_cast<int32_t>((s.tokens.rows() + kStateTokens - 1) / kStateTokens),
                               .first_history = static_cast<int32_t>(history.size()),
                               .histories = static_cast<int32_t>(s.history.size()),
                               .S_out = s.S_out,
                               .z_out = s.z_out,
                               .store_sum = s.store_sum};
      partials += segment.partials;
      for (const auto& past : s.history) history.push_back({past.S, past.z});
      segments.push_back(segment);
    }
    segments.resize(context().Padded(static_cast<int64_t>(segments.size())));
    // Never none, where passes with and without a history should launch the same.
    if (context().graphs() != nullptr)
      history.resize(PaddedCount(std::max<int64_t>(1, static_cast<int64_t>(history.size()))));

    LinearAttentionLaunch a;
    auto* inverse = context().Take<float>(ScratchPiece::kAttention2, 2 * rows);
    if (args.q_weight != nullptr) {
      RunInverseRms(launcher, args.qkv.Cols(0, D), args.norm_eps, inverse);
      a.q_weight = args.q_weight;
      a.q_inverse = inverse;
    }
    if (args.k_weight != nullptr) {
      RunInverseRms(launcher, args.qkv.Cols(D, D), args.norm_eps, inverse + rows);
      a.k_weight = args.k_weight;
      a.k_inverse = inverse + rows;
    }
    a.qkv = RowsOf(args.qkv);
    a.key_gate = static_cast<const float*>(args.key_gate.data);
    a.key_gate_stride = args.key_gate.stride;
    a.heads = args.heads;
    a.head_dim = d;
    a.rotary = state_.rotary.Axes(context(), d, args.rope_max_positions);
    a.segments = staging.Put(segments);
    a.segment_count = static_cast<int>(segments.size());
    a.history = staging.Put(history);
    a.state_shares = staging.Put(state_shares);
    a.state_share_count = static_cast<int>(state_shares.size());
    a.output_shares = staging.Put(output_shares);
    a.output_share_count = static_cast<int>(output_shares.size());
    const int64_t state = args.heads * a.StateFloats();
    // For as many shares as sessions of so many rows could have: a plan for the most of both suffices for fewer.
    const int64_t most_shares = context().Padded(rows / kStateTokens + a.segment_count);
    a.partials = context().Take<float>(ScratchPiece::kAttention, (most_shares + a.segment_count) * state);
    a.sums = a.partials + static_cast<int64_t>(state_shares.size()) * state;
    a.out = RowsOf(args.out);
    RunLinearAttention(launcher, args.qkv.dtype, a);
  }

  void DoPrepareCrossKv(const PrepareCrossKvArgs& args) override {
    float* inverse = nullptr;
    if (args.k_weight != nullptr) {
      inverse = context().Take<float>(ScratchPiece::kAttention2, args.k.rows);
      RunInverseRms(context().launcher(), args.k, args.norm_eps, inverse);
    }
    RunPackCrossKv(context().launcher(), args.k, args.v, inverse, args.k_weight, args.heads, args.head_dim, args.out);
  }

  void DoCrossAttention(const CrossAttentionArgs& args) override {
    const int64_t padded = PaddedHead(args.head_dim);
    std::vector<AttentionSegment> segments;
    for (const CrossAttentionSegment& s : args.segments) {
      const auto* k = reinterpret_cast<const uint16_t*>(s.kv.data);
      segments.push_back({.first_row = s.first_row,
                          .rows = static_cast<int32_t>(s.rows),
                          .keys = static_cast<int32_t>(s.kv.tokens),
                          .k = k,
                          .v = k + args.heads * s.kv.tokens * padded,
                          .head_stride = s.kv.tokens * padded});
    }
    segments.resize(context().Padded(static_cast<int64_t>(segments.size())));
    const std::vector<Share> shares = PaddedShares(
        context(), CutShares(args.segments, kQueries, [](const CrossAttentionSegment& s) { return s.rows; }));
    AttentionLaunch a;
    if (args.q_weight != nullptr) {
      auto* inverse = context().Take<float>(ScratchPiece::kAttention2, args.q.rows);
      RunInverseRms(context().launcher(), args.q, args.norm_eps, inverse);
      a.q_inverse = inverse;
      a.q_weight = args.q_weight;
    }
    a.q = args.q.data;
    a.q_row_stride = args.q.stride;
    a.q_head_stride = args.head_dim;
    a.heads = a.kv_heads = args.heads;
    a.head_dim = args.head_dim;
    a.scale = 1.f / std::sqrt(static_cast<float>(args.head_dim));
    a.segments = context().staging().Put(segments);
    a.shares = context().staging().Put(shares);
    a.share_count = static_cast<int>(shares.size());
    a.out = RowsOf(args.out);
    RunAttention(context().launcher(), a);
  }

  void DoSoftmaxAttention(const SoftmaxAttentionArgs& args) override {
    const int64_t padded = PaddedHead(args.head_dim), rows = args.qkv.rows, head_elements = rows * padded;
    const int all_heads = args.heads + 2 * args.kv_heads;
    auto* heads = context().Take<uint16_t>(ScratchPiece::kAttention, all_heads * head_elements);
    const uint16_t* keys = heads + args.heads * head_elements;

    std::vector<GridSegment> grids;
    std::vector<AttentionSegment> segments;
    int64_t longest = 1;
    for (const SoftmaxAttentionSegment& s : args.segments) {
      longest = std::max(longest, s.rows);
      grids.push_back({.first_row = s.first_row, .frames = static_cast<int32_t>(s.rows), .height = 1, .width = 1});
      const uint16_t* k = keys + s.first_row * padded;
      segments.push_back({.first_row = s.first_row,
                          .rows = static_cast<int32_t>(s.rows),
                          .keys = static_cast<int32_t>(s.key_rows),
                          .k = k,
                          .v = k + args.kv_heads * head_elements,
                          .head_stride = head_elements});
    }
    const auto rows_of = [](const SoftmaxAttentionSegment& s) { return s.rows; };
    const std::vector<Share> rotate_shares = CutShares(args.segments, kRotatedRows, rows_of);
    const std::vector<Share> shares = CutShares(args.segments, kQueries, rows_of);
    RotateLaunch rotate = {.qkv = RowsOf(args.qkv),
                           .rotated_heads = args.heads + args.kv_heads,
                           .all_heads = all_heads,
                           .head_dim = args.head_dim,
                           .share_count = static_cast<int>(rotate_shares.size()),
                           .segments = context().staging().Put(grids),
                           .shares = context().staging().Put(rotate_shares),
                           .out = heads};
    if (args.rope_theta != 0.f)
      rotate.angles = state_.rotary.Halves(context(), args.head_dim, args.rope_theta, longest);
    RunRotateHeads(context().launcher(), args.qkv.dtype, rotate);
    RunAttention(context().launcher(), {.q = heads,
                                        .q_row_stride = padded,
                                        .q_head_stride = head_elements,
                                        .heads = args.heads,
                                        .kv_heads = args.kv_heads,
                                        .head_dim = args.head_dim,
                                        .scale = args.scale,
                                        .soft_cap = args.soft_cap,
                                        .causal = args.causal,
                                        .window = static_cast<int>(args.window),
                                        .share_count = static_cast<int>(shares.size()),
                                        .segments = context().staging().Put(segments),
                                        .shares = context().staging().Put(shares),
                                        .out = RowsOf(args.out)});
  }

  Context& context() const { return *state_.context; }

  StreamState& state_;
};

}  // namespace

std::unique_ptr<AttentionOps> MakeAttention(FamilyContext* family, StreamState& state) {
  return std::make_unique<CudaAttention>(family, state);
}

}  // namespace longtake::cuda
