// Convolutions over frames, over tokens, and over time.
#include <string>

#include "tests/engine/ops_cases.h"

namespace longtake {
namespace {

GroupResults RunDepthwise(Ops& ops, const Groups& groups, int64_t half) {
  Bench bench(ops);
  const auto weight = Random(2 * half * 9, 1, 0, 0.4f), bias = Random(2 * half, 2);
  const auto kernel = ops.weights().PackDepthwise({weight.data(), DType::kF32, {2 * half, 1, 3, 3}},
                                                  {bias.data(), DType::kF32, {2 * half}});
  const Mat x = bench.Act(Concatenate(groups, [&](int g) { return Random(TokensOf(g) * 2 * half, 3, g); }), 2 * half);
  const Mat y = bench.EmptyAct(x.rows, half);
  const std::vector<Segment> segments = Segments(groups);
  ops.convolution().DepthwiseGlu({.kernel = *kernel, .x = x, .segments = segments, .y = y});
  return Cut(groups, bench.Read(y), [&](int g) { return TokensOf(g) * half; });
}

GroupResults RunTemporal(Ops& ops, const Groups& groups, int64_t D, bool gated, bool bias) {
  Bench bench(ops);
  const auto kernel = bench.Kernel({.outputs = D, .inputs = D, .kt = 3}, 1, bias);
  const Mat y = bench.Act(Concatenate(groups, [&](int g) { return Random(TokensOf(g) * D, 2, g); }), D);
  const Mat h = bench.Upload(Concatenate(groups, [&](int g) { return Random(TokensOf(g) * D, 3, g); }), D, DType::kF32);
  const std::vector<Segment> segments = Segments(groups);
  std::vector<ConstMat> tails;
  std::vector<int32_t> mod;
  for (int g : groups) {
    // Group 1 begins its video.
    const int64_t pixels = int64_t{SegmentOf(g, 0).height} * SegmentOf(g, 0).width;
    tails.push_back(g == 1 ? ConstMat{} : bench.Act(Random(pixels * D, 4, g), D));
    for (int64_t r = 0; r < TokensOf(g); ++r) mod.push_back(static_cast<int32_t>((r / 3 + g) % 2));
  }
  Epilogue e;
  e.residual = true;
  if (gated) {
    e.gate = bench.Floats(Random(2 * 6 * D, 5));
    e.gate_stride = 6 * D;
    e.mod_row = mod;
  }
  ops.convolution().TemporalConv(
      {.kernel = *kernel, .x = y, .segments = segments, .tails = tails, .epilogue = e, .out = h});
  return Cut(groups, bench.Read(h), [&](int g) { return TokensOf(g) * D; });
}

struct ConvCase {
  const char* name;
  KernelShape shape;
  int height, width, out_height, out_width;
  int stride = 1, upsample = 1, pad_top = 0, pad_left = 0;
  bool residual = false;
  bool f32 = false;  // out and residual in f32 whatever the activation type, as the VAE has them
};

// A group is one output frame; the first of several input frames is a zero frame for group 0.
GroupResults RunConv(Ops& ops, const Groups& groups, const ConvCase& c) {
  Bench bench(ops);
  const auto kernel = bench.Kernel(c.shape, 1, true);
  std::vector<ConstMat> in, residual;
  std::vector<Mat> out;
  for (int g : groups) {
    for (int t = 0; t < c.shape.kt; ++t) {
      const bool zero = g == 0 && t == 0 && c.shape.kt > 1;
      in.push_back(zero ? ConstMat{}
                        : bench.Act(Random(int64_t{c.height} * c.width * c.shape.inputs, 2 + t, g), c.shape.inputs));
    }
    out.push_back(bench.Upload(Random(int64_t{c.out_height} * c.out_width * c.shape.outputs, 9, g), c.shape.outputs,
                               c.f32 ? DType::kF32 : ops.activation_type()));
    if (c.residual) residual.push_back(out.back());
  }
  ops.convolution().Conv({.kernel = *kernel,
                          .in = in,
                          .in_height = c.height,
                          .in_width = c.width,
                          .out = out,
                          .out_height = c.out_height,
                          .out_width = c.out_width,
                          .stride = c.stride,
                          .upsample = c.upsample,
                          .pad_top = c.pad_top,
                          .pad_left = c.pad_left,
                          .residual = residual});
  GroupResults results;
  for (size_t i = 0; i < groups.size(); ++i) results[groups[i]] = bench.Read(out[i]);
  return results;
}

}  // namespace

std::vector<OpsCase> ConvolutionCases() {
  std::vector<OpsCase> cases;
  for (int64_t half : {64, 291}) {
    cases.push_back({"depthwise_glu_" + std::to_string(half), 3,
                     [half](Ops& ops, const Groups& groups) { return RunDepthwise(ops, groups, half); }});
  }
  for (const bool gated : {false, true}) {
    for (const bool bias : {false, true}) {
      for (const int64_t D : {64, 45}) {
        const std::string name = std::string("temporal_conv") + (gated ? "_gated" : "") + (bias ? "_bias" : "");
        cases.push_back({name + "_" + std::to_string(D), 3,
                         [=](Ops& ops, const Groups& groups) { return RunTemporal(ops, groups, D, gated, bias); }});
      }
    }
  }
  const ConvCase convs[] = {
      {.name = "conv_3x3x3",
       .shape = {96, 48, 3, 3, 3},
       .height = 7,
       .width = 13,
       .out_height = 7,
       .out_width = 13,
       .pad_top = 1,
       .pad_left = 1},
      {.name = "conv_residual",
       .shape = {32, 32, 3, 3, 3},
       .height = 9,
       .width = 30,
       .out_height = 9,
       .out_width = 30,
       .pad_top = 1,
       .pad_left = 1,
       .residual = true},
      {.name = "conv_1x1", .shape = {24, 40, 1, 1, 1}, .height = 5, .width = 6, .out_height = 5, .out_width = 6},
      {.name = "conv_time", .shape = {64, 32, 3, 1, 1}, .height = 5, .width = 6, .out_height = 5, .out_width = 6},
      {.name = "conv_upsample",
       .shape = {32, 64, 1, 3, 3},
       .height = 5,
       .width = 7,
       .out_height = 10,
       .out_width = 14,
       .upsample = 2,
       .pad_top = 1,
       .pad_left = 1},
      // Pads right and below: 11 x 9 to 5 x 4 reads one row and column beyond at even sizes only.
      {.name = "conv_stride",
       .shape = {48, 16, 1, 3, 3},
       .height = 10,
       .width = 8,
       .out_height = 5,
       .out_width = 4,
       .stride = 2},
      {.name = "conv_three_channels",
       .shape = {40, 3, 3, 3, 3},
       .height = 6,
       .width = 9,
       .out_height = 6,
       .out_width = 9,
       .pad_top = 1,
       .pad_left = 1},
      {.name = "conv_to_pixels",
       .shape = {3, 96, 3, 3, 3},
       .height = 6,
       .width = 9,
       .out_height = 6,
       .out_width = 9,
       .pad_top = 1,
       .pad_left = 1},
      {.name = "conv_deep",
       .shape = {72, 384, 3, 3, 3},
       .height = 4,
       .width = 5,
       .out_height = 4,
       .out_width = 5,
       .pad_top = 1,
       .pad_left = 1},
  };
  for (const ConvCase& c : convs) {
    cases.push_back({c.name, 3, [c](Ops& ops, const Groups& groups) { return RunConv(ops, groups, c); }});
    ConvCase wide = c;
    wide.f32 = true;
    cases.push_back({std::string(c.name) + "_f32", 3,
                     [wide](Ops& ops, const Groups& groups) { return RunConv(ops, groups, wide); }});
  }
  return cases;
}

}  // namespace longtake
