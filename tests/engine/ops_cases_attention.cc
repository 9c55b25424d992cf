// The three kinds of attention.
#include "tests/engine/ops_shapes.h"

namespace longtake {
namespace {

// A group's result: its output rows, then S and z where they are stored.
GroupResults RunLinearAttention(Ops& ops, const Groups& groups, const LinearAttentionShape& c) {
  Bench bench(ops);
  const int64_t D = int64_t{c.heads} * c.head_dim, S_size = D * c.head_dim;
  LinearAttentionArgs args;
  args.qkv = bench.Upload(Concatenate(groups, [&](int g) { return Random(TokensOf(g, c.segments) * 3 * D, 1, g); }),
                          3 * D, c.f32 ? DType::kF32 : ops.activation_type());
  if (c.norm) {
    args.q_weight = bench.Floats(Random(D, 2, 0, 0.3f, 1.f));
    args.k_weight = bench.Floats(Random(D, 3, 0, 0.3f, 1.f));
  }
  args.heads = c.heads;
  args.head_dim = c.head_dim;
  if (c.gated) {
    const auto gates =
        Concatenate(groups, [&](int g) { return Random(TokensOf(g, c.segments) * c.heads, 40, g, 0.1f, 0.5f); });
    args.key_gate = bench.Upload(gates, c.heads, DType::kF32);
  }
  std::vector<LinearAttentionSegment> segments;
  std::vector<std::vector<LinearAttentionState>> histories(groups.size());
  int64_t row = 0;
  for (size_t i = 0; i < groups.size(); ++i) {
    const int g = groups[i];
    LinearAttentionSegment s;
    s.tokens = SegmentOf(g, row, c.segments);
    row += s.tokens.rows();
    // Group 0 has no history even where the others do.
    for (int past = 0; g > 0 && past < c.history; ++past) {
      histories[i].push_back(
          {bench.Floats(Random(S_size, 4 + past, g)), bench.Floats(Random(D, 14 + past, g, 1.f, 20.f))});
    }
    s.history = histories[i];
    if (c.store) {
      s.S_out = bench.Floats(std::vector<float>(S_size));
      s.z_out = bench.Floats(std::vector<float>(D));
      s.store_sum = c.sum;
    }
    segments.push_back(s);
  }
  args.segments = segments;
  const Mat out = bench.EmptyAct(row, D);
  args.out = out;
  ops.attention().LinearAttention(args);
  GroupResults results = Cut(groups, bench.Read(out), [&](int g) { return TokensOf(g, c.segments) * D; });
  if (c.store) {
    for (size_t i = 0; i < groups.size(); ++i) {
      auto& all = results[groups[i]];
      // Of the outputs' size, so that one number judges both.
      for (float v : bench.ReadFloats(segments[i].S_out, S_size)) all.push_back(v * 0.1f);
      for (float v : bench.ReadFloats(segments[i].z_out, D)) all.push_back(v * 0.1f);
    }
  }
  return results;
}

GroupResults RunCross(Ops& ops, const Groups& groups, const CrossAttentionShape& c) {
  Bench bench(ops);
  const int64_t D = int64_t{c.heads} * c.head_dim;
  CrossAttentionArgs args;
  args.q = bench.Act(Concatenate(groups, [&](int g) { return Random(TokensOf(g, c.segments) * D, 1, g); }), D);
  args.q_weight = c.norm ? bench.Floats(Random(D, 2, 0, 0.3f, 1.f)) : nullptr;
  const float* k_weight = c.norm ? bench.Floats(Random(D, 3, 0, 0.3f, 1.f)) : nullptr;
  args.heads = c.heads;
  args.head_dim = c.head_dim;
  std::vector<CrossAttentionSegment> segments;
  int64_t row = 0;
  for (int g : groups) {
    const int64_t tokens = c.tokens[g];
    std::byte* kv = bench.Bytes(ops.attention().CrossKvBytes(tokens, c.heads, c.head_dim));
    ops.attention().PrepareCrossKv({.k = bench.Act(Random(tokens * D, 4, g), D),
                                    .v = bench.Act(Random(tokens * D, 5, g), D),
                                    .k_weight = k_weight,
                                    .heads = c.heads,
                                    .head_dim = c.head_dim,
                                    .out = kv});
    segments.push_back({row, TokensOf(g, c.segments), {kv, tokens}});
    row += TokensOf(g, c.segments);
  }
  args.segments = segments;
  const Mat out = bench.EmptyAct(row, D);
  args.out = out;
  ops.attention().CrossAttention(args);
  return Cut(groups, bench.Read(out), [&](int g) { return TokensOf(g, c.segments) * D; });
}

GroupResults RunSoftmax(Ops& ops, const Groups& groups, const SoftmaxAttentionShape& c) {
  Bench bench(ops);
  const int64_t width = int64_t{c.heads + 2 * c.kv_heads} * c.head_dim, D = int64_t{c.heads} * c.head_dim;
  SoftmaxAttentionArgs args;
  args.qkv = bench.Upload(Concatenate(groups, [&](int g) { return Random(c.rows[g] * width, 1, g); }), width,
                          c.f32 ? DType::kF32 : ops.activation_type());
  args.heads = c.heads;
  args.kv_heads = c.kv_heads;
  args.head_dim = c.head_dim;
  args.scale = c.scale;
  args.soft_cap = c.soft_cap;
  args.causal = c.causal;
  args.window = c.window;
  args.rope_theta = c.theta;
  std::vector<SoftmaxAttentionSegment> segments;
  int64_t row = 0;
  for (int g : groups) {
    segments.push_back({row, c.rows[g], c.keys[g]});
    row += c.rows[g];
  }
  args.segments = segments;
  const Mat out = bench.EmptyAct(row, D);
  args.out = out;
  ops.attention().SoftmaxAttention(args);
  return Cut(groups, bench.Read(out), [&](int g) { return c.rows[g] * D; });
}

}  // namespace

OpsCase MakeCase(const LinearAttentionShape& shape) {
  return {shape.name, 3, [shape](Ops& ops, const Groups& groups) { return RunLinearAttention(ops, groups, shape); }};
}

OpsCase MakeCase(const CrossAttentionShape& shape) {
  return {shape.name, 3, [shape](Ops& ops, const Groups& groups) { return RunCross(ops, groups, shape); }};
}

OpsCase MakeCase(const SoftmaxAttentionShape& shape) {
  return {shape.name, 3, [shape](Ops& ops, const Groups& groups) { return RunSoftmax(ops, groups, shape); }};
}

std::vector<OpsCase> AttentionCases() {
  std::vector<OpsCase> cases;
  const LinearAttentionShape linears[] = {
      {.name = "linear_attention", .heads = 3, .head_dim = 112},
      {.name = "linear_attention_small_heads", .heads = 6, .head_dim = 32, .norm = false},
      {.name = "linear_attention_odd_width", .heads = 2, .head_dim = 22},
      {.name = "linear_attention_history", .heads = 2, .head_dim = 32, .history = 3},
      {.name = "linear_attention_commit", .heads = 2, .head_dim = 48, .history = 1, .store = true, .sum = true},
      {.name = "linear_attention_commit_own", .heads = 2, .head_dim = 48, .history = 2, .store = true},
      {.name = "linear_attention_f32", .heads = 3, .head_dim = 112, .f32 = true},
      {.name = "linear_attention_f32_odd_width", .heads = 2, .head_dim = 22, .history = 2, .norm = false, .f32 = true},
      {.name = "linear_attention_f32_commit",
       .heads = 2,
       .head_dim = 48,
       .history = 1,
       .store = true,
       .sum = true,
       .f32 = true},
      {.name = "linear_attention_gated", .heads = 3, .head_dim = 128, .f32 = true, .gated = true},
      {.name = "linear_attention_gated_odd_width", .heads = 2, .head_dim = 22, .f32 = true, .gated = true},
  };
  for (const LinearAttentionShape& shape : linears) cases.push_back(MakeCase(shape));
  const CrossAttentionShape crosses[] = {
      {"cross_attention", 3, 112, {300, 17, 64}, true},
      {"cross_attention_small_heads", 4, 32, {1, 77, 300}, true},
      {"cross_attention_odd", 2, 21, {5, 301, 30}, false},
      {"cross_attention_padded", 3, 40, {65, 128, 3}, true},
  };
  for (const CrossAttentionShape& shape : crosses) cases.push_back(MakeCase(shape));
  const SoftmaxAttentionShape softmaxes[] = {
      {"softmax_text", 4, 2, 64, {300, 9, 70}, {300, 7, 70}, 0.125f, 50.f, true, 0, 10000.f},
      {"softmax_text_f32", 4, 2, 64, {300, 9, 70}, {300, 7, 70}, 0.125f, 50.f, true, 0, 10000.f, true},
      {"softmax_window", 2, 1, 32, {600, 40, 300}, {600, 40, 290}, 0.2f, 20.f, true, 33, 10000.f},
      {"softmax_plain", 1, 1, 96, {350, 64, 257}, {350, 64, 257}, 0.1f, 0.f, false, 0, 0.f},
  };
  for (const SoftmaxAttentionShape& shape : softmaxes) cases.push_back(MakeCase(shape));
  return cases;
}

}  // namespace longtake
