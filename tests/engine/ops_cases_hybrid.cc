// Operations of SANA-Video 2.0's transformer.
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "tests/engine/ops_cases.h"

namespace longtake {
namespace {

GroupResults RunDepthAttention(Ops& ops, const Groups& groups, int64_t width, int sources) {
  Bench bench(ops);
  std::vector<ConstMat> all;
  int64_t rows = 0;
  for (const int g : groups) rows += RowsOf(g);
  for (int m = 0; m < sources; ++m) {
    const auto values =
        Concatenate(groups, [&](int g) { return Random(RowsOf(g) * width, 10 + m, g, 1.f + static_cast<float>(m)); });
    all.push_back(bench.Upload(values, width, DType::kF32));
  }
  const Mat out = bench.Empty(rows, width, DType::kF32);
  // Scores of about 1: no source is taken alone.
  const float* weight = bench.Floats(Random(width, 3, 0, 1.f / std::sqrt(static_cast<float>(width))));
  ops.hybrid().DepthAttention({.sources = all, .weight = weight, .out = out});
  return Cut(groups, bench.Read(out), [&](int g) { return RowsOf(g) * width; });
}

GroupResults RunRotateOnGrid(Ops& ops, const Groups& groups, int heads, int head_dim) {
  Bench bench(ops);
  const int64_t D = int64_t{heads} * head_dim;
  const std::vector<Segment> segments = Segments(groups, kSegments);
  const auto values = Concatenate(groups, [&](int g) { return Random(TokensOf(g) * 3 * D, 1, g); });
  const Mat qkv = bench.Upload(values, 3 * D, DType::kF32), out = bench.EmptyAct(qkv.rows, 3 * D);
  ops.hybrid().RotateOnGrid({.qkv = qkv,
                             .q_weight = bench.Floats(Random(D, 2, 0, 0.3f, 1.f)),
                             .k_weight = bench.Floats(Random(D, 3, 0, 0.3f, 1.f)),
                             .heads = heads,
                             .head_dim = head_dim,
                             .segments = segments,
                             .out = out});
  return Cut(groups, bench.Read(out), [&](int g) { return TokensOf(g) * 3 * D; });
}

// A group's result: its rows of the stream, then those of the branch.
GroupResults RunAddBranch(Ops& ops, const Groups& groups, int64_t width, bool begins) {
  Bench bench(ops);
  const auto rows_of = [&](int stream) {
    return bench.Upload(Concatenate(groups, [&](int g) { return Random(RowsOf(g) * width, stream, g); }), width,
                        DType::kF32);
  };
  const Mat x = rows_of(1), stream = rows_of(2), branch = rows_of(3);
  std::vector<int32_t> mod_row;
  for (const int g : groups) {
    for (int64_t r = 0; r < RowsOf(g); ++r) mod_row.push_back(static_cast<int32_t>((r + g) % 2));
  }
  ops.hybrid().AddBranch({.x = x,
                          .gate = bench.Floats(Random(2 * (width + 3), 4)),
                          .gate_stride = width + 3,
                          .mod_row = mod_row,
                          .begins = begins,
                          .stream = stream,
                          .branch = branch});
  const auto cut = [&](const Mat& m) { return Cut(groups, bench.Read(m), [&](int g) { return RowsOf(g) * width; }); };
  GroupResults results = cut(stream);
  for (const auto& [g, rows] : cut(branch)) results[g].insert(results[g].end(), rows.begin(), rows.end());
  return results;
}

}  // namespace

std::vector<OpsCase> HybridCases() {
  std::vector<OpsCase> cases;
  const auto add = [&](const std::string& name, auto run, auto... shape) {
    cases.push_back({name, 3, [=](Ops& ops, const Groups& groups) { return run(ops, groups, shape...); }});
  };
  add("depth_attention_1", RunDepthAttention, int64_t{64}, 1);
  add("depth_attention_2", RunDepthAttention, int64_t{203}, 2);
  add("depth_attention_6", RunDepthAttention, int64_t{320}, 6);
  add("rotate_on_grid", RunRotateOnGrid, 2, 256);
  add("rotate_on_grid_odd_width", RunRotateOnGrid, 3, 22);
  add("branch_begins", RunAddBranch, int64_t{96}, true);
  add("branch_goes_on", RunAddBranch, int64_t{203}, false);
  for (const int head_dim : {32, 21}) {
    for (const bool norm : {true, false}) {
      cases.push_back(
          RowsCase(norm ? "gate_heads_normed" : "gate_heads", 6 * head_dim, false, false,
                   [=](Ops& ops, Bench& bench, Mat x, Mat y, auto) {
                     const float* weight = bench.Floats(Random(head_dim, 5, 0, 0.3f, 1.f));
                     // y holds the gates before it holds the products.
                     ops.hybrid().GateHeads(
                         {.x = x, .gate = y, .weight = norm ? weight : nullptr, .head_dim = head_dim, .y = y});
                   }));
    }
  }
  return cases;
}

}  // namespace longtake
