// Re-orderings between channels and positions, and the other operations of the LTX-2 VAE alone.
#include <string>

#include "tests/engine/ops_shapes.h"

namespace longtake {
namespace {

struct ShuffleShape {
  std::string name;
  ShuffleFactor factor;
  int64_t channels = 1;  // of the fine frames
  // DepthToSpace: channels of the re-ordered residual; 0: none. SpaceToDepth: channels of the fine residual.
  int64_t residual = 0;
};

constexpr int kHeight = 5, kWidth = 7;
constexpr int64_t kRows = int64_t{kHeight} * kWidth;

// A group is one coarse frame. Of group 0's fine frames only the last is written.
GroupResults RunDepthToSpace(Ops& ops, const Groups& groups, const ShuffleShape& c) {
  Bench bench(ops);
  const int64_t volume = c.factor.volume(), area = int64_t{c.factor.h} * c.factor.w;
  GroupResults results;
  for (const int g : groups) {
    const Mat in = bench.Upload(Random(kRows * c.channels * volume, 1, g), c.channels * volume, DType::kF32);
    ConstMat residual;
    if (c.residual > 0) {
      residual = bench.Upload(Random(kRows * c.residual * volume, 2, g), c.residual * volume, DType::kF32);
    }
    std::vector<Mat> out;
    for (int i = 0; i < c.factor.t; ++i) {
      out.push_back(bench.Upload(Random(kRows * area * c.channels, 3 + i, g), c.channels, DType::kF32));
      if (g == 0 && i + 1 < c.factor.t) out.back().data = nullptr;
    }
    ops.shuffle().DepthToSpace(
        {.in = in, .height = kHeight, .width = kWidth, .factor = c.factor, .residual = residual, .out = out});
    for (const Mat& frame : out) {
      if (frame.data == nullptr) continue;
      const std::vector<float> values = bench.Read(frame);
      results[g].insert(results[g].end(), values.begin(), values.end());
    }
  }
  return results;
}

GroupResults RunSpaceToDepth(Ops& ops, const Groups& groups, const ShuffleShape& c) {
  Bench bench(ops);
  const int64_t volume = c.factor.volume(), area = int64_t{c.factor.h} * c.factor.w;
  GroupResults results;
  for (const int g : groups) {
    std::vector<ConstMat> in, residual;
    for (int i = 0; i < c.factor.t; ++i) {
      in.push_back(bench.Upload(Random(kRows * area * c.channels, 1 + i, g), c.channels, DType::kF32));
      residual.push_back(bench.Upload(Random(kRows * area * c.residual, 3 + i, g), c.residual, DType::kF32));
    }
    const Mat out = bench.Upload(Random(kRows * c.channels * volume, 5, g), c.channels * volume, DType::kF32);
    ops.shuffle().SpaceToDepth(
        {.in = in, .residual = residual, .height = kHeight, .width = kWidth, .factor = c.factor, .out = out});
    results[g] = bench.Read(out);
  }
  return results;
}

}  // namespace

std::vector<OpsCase> ShuffleCases() {
  std::vector<OpsCase> cases;
  const auto add = [&](const std::string& name, auto run, const ShuffleShape& shape) {
    cases.push_back({name + shape.name, 3, [=](Ops& ops, const Groups& groups) { return run(ops, groups, shape); }});
  };
  // Of LTX-2's decoder, of LTX-2.3's, and with channels that no vector holds.
  const ShuffleShape depth[] = {{"222_residual", {2, 2, 2}, 20, 5},
                                {"222", {2, 2, 2}, 16},
                                {"211", {2, 1, 1}, 12},
                                {"122", {1, 2, 2}, 7},
                                {"122_residual", {1, 2, 2}, 9, 3},
                                {"211_residual", {2, 1, 1}, 4, 4}};
  for (const ShuffleShape& shape : depth) add("depth_to_space_", RunDepthToSpace, shape);
  // Means of one to eight channels, within a position and over several.
  const ShuffleShape space[] = {{"122_mean2", {1, 2, 2}, 6, 12},
                                {"211_mean1", {2, 1, 1}, 5, 5},
                                {"222_mean4", {2, 2, 2}, 3, 12},
                                {"222_mean8", {2, 2, 2}, 3, 24}};
  for (const ShuffleShape& shape : space) add("space_to_depth_", RunSpaceToDepth, shape);

  const ConvShape reflected[] = {
      {.name = "conv_reflect", .kernel = {24, 16, 3, 3, 3}, .height = 7, .width = 13, .out_height = 7, .out_width = 13},
      {.name = "conv_reflect_line",
       .kernel = {8, 8, 3, 3, 3},
       .height = 1,
       .width = 2,
       .out_height = 1,
       .out_width = 2},
  };
  for (ConvShape shape : reflected) {
    shape.pad_top = shape.pad_left = 1;
    shape.border = Border::kReflect;
    for (const bool f32 : {false, true}) {
      shape.f32 = f32;
      shape.name += f32 ? "_f32" : "";
      cases.push_back(MakeCase(shape));
    }
  }
  return cases;
}

}  // namespace longtake
