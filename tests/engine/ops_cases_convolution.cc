// Convolutions over frames, over tokens, and over time.
#include <string>

#include "tests/engine/ops_shapes.h"

namespace longtake {
namespace {

GroupResults RunDepthwise(Ops& ops, const Groups& groups, const DepthwiseShape& c) {
  Bench bench(ops);
  const int64_t half = c.half;
  const auto weight = Random(2 * half * 9, 1, 0, 0.4f), bias = Random(2 * half, 2);
  const auto kernel = ops.weights().PackDepthwise({weight.data(), DType::kF32, {2 * half, 1, 3, 3}},
                                                  {bias.data(), DType::kF32, {2 * half}});
  const Mat x =
      bench.Act(Concatenate(groups, [&](int g) { return Random(TokensOf(g, c.segments) * 2 * half, 3, g); }), 2 * half);
  const Mat y = bench.EmptyAct(x.rows, half);
  const std::vector<Segment> segments = Segments(groups, c.segments);
  ops.convolution().DepthwiseGlu({.kernel = *kernel,
                                  .x = x,
                                  .segments = segments,
                                  .y = y,
                                  .activation = c.silu ? Activation::kSilu : Activation::kNone});
  return Cut(groups, bench.Read(y), [&](int g) { return TokensOf(g, c.segments) * half; });
}

GroupResults RunTemporal(Ops& ops, const Groups& groups, const TemporalShape& c) {
  Bench bench(ops);
  const int64_t D = c.width;
  const auto kernel = bench.Kernel({.outputs = D, .inputs = D, .kt = 3}, 1, c.bias, c.values);
  const Mat y =
      bench.Act(Concatenate(groups, [&](int g) { return Draw(c.values, TokensOf(g, c.segments) * D, 2, g); }), D);
  const Mat h = bench.Upload(
      Concatenate(groups, [&](int g) { return Draw(c.values, TokensOf(g, c.segments) * D, 3, g); }), D, DType::kF32);
  const std::vector<Segment> segments = Segments(groups, c.segments);
  std::vector<ConstMat> tails;
  std::vector<int32_t> mod;
  for (int g : groups) {
    // Group 1 begins its video.
    const int64_t pixels = int64_t{SegmentOf(g, 0, c.segments).height} * SegmentOf(g, 0, c.segments).width;
    tails.push_back(g == 1 ? ConstMat{} : bench.Act(Draw(c.values, pixels * D, 4, g), D));
    for (int64_t r = 0; r < TokensOf(g, c.segments); ++r) mod.push_back(static_cast<int32_t>((r / 3 + g) % 2));
  }
  Epilogue e;
  e.residual = true;
  if (c.gated) {
    e.gate = bench.Floats(Draw(c.values, 2 * 6 * D, 5));
    e.gate_stride = 6 * D;
    e.mod_row = mod;
  }
  ops.convolution().TemporalConv(
      {.kernel = *kernel, .x = y, .segments = segments, .tails = tails, .epilogue = e, .out = h});
  return Cut(groups, bench.Read(h), [&](int g) { return TokensOf(g, c.segments) * D; });
}

// A group is one output frame; the first of several input frames is a zero frame for group 0.
GroupResults RunConv(Ops& ops, const Groups& groups, const ConvShape& c) {
  Bench bench(ops);
  const auto kernel = bench.Kernel(c.kernel, 1, true, c.values);
  std::vector<ConstMat> in, residual;
  std::vector<Mat> out;
  for (int g : groups) {
    for (int t = 0; t < c.kernel.kt; ++t) {
      const bool zero = g == 0 && t == 0 && c.kernel.kt > 1;
      in.push_back(
          zero ? ConstMat{}
               : bench.Act(Draw(c.values, int64_t{c.height} * c.width * c.kernel.inputs, 2 + t, g), c.kernel.inputs));
    }
    out.push_back(bench.Upload(Draw(c.values, int64_t{c.out_height} * c.out_width * c.kernel.outputs, 9, g),
                               c.kernel.outputs, c.f32 ? DType::kF32 : ops.activation_type()));
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
                          .border = c.border,
                          .residual = residual,
                          .activation = c.relu ? Activation::kRelu : Activation::kNone});
  GroupResults results;
  for (size_t i = 0; i < groups.size(); ++i) results[groups[i]] = bench.Read(out[i]);
  return results;
}

}  // namespace

OpsCase MakeCase(const DepthwiseShape& shape) {
  return {shape.name, 3, [shape](Ops& ops, const Groups& groups) { return RunDepthwise(ops, groups, shape); }};
}

OpsCase MakeCase(const TemporalShape& shape) {
  return {shape.name, 3, [shape](Ops& ops, const Groups& groups) { return RunTemporal(ops, groups, shape); }};
}

OpsCase MakeCase(const ConvShape& shape) {
  return {shape.name, 3, [shape](Ops& ops, const Groups& groups) { return RunConv(ops, groups, shape); }};
}

std::vector<OpsCase> ConvolutionCases() {
  std::vector<OpsCase> cases;
  for (int64_t half : {64, 291}) {
    cases.push_back(MakeCase(DepthwiseShape{.name = "depthwise_glu_" + std::to_string(half), .half = half}));
    cases.push_back(
        MakeCase(DepthwiseShape{.name = "depthwise_glu_silu_" + std::to_string(half), .half = half, .silu = true}));
  }
  for (const bool gated : {false, true}) {
    for (const bool bias : {false, true}) {
      for (const int64_t width : {64, 45}) {
        const std::string name = std::string("temporal_conv") + (gated ? "_gated" : "") + (bias ? "_bias_" : "_");
        cases.push_back(MakeCase(
            TemporalShape{.name = name + std::to_string(width), .width = width, .gated = gated, .bias = bias}));
      }
    }
  }
  const ConvShape convs[] = {
      {.name = "conv_3x3x3",
       .kernel = {96, 48, 3, 3, 3},
       .height = 7,
       .width = 13,
       .out_height = 7,
       .out_width = 13,
       .pad_top = 1,
       .pad_left = 1},
      {.name = "conv_residual",
       .kernel = {32, 32, 3, 3, 3},
       .height = 9,
       .width = 30,
       .out_height = 9,
       .out_width = 30,
       .pad_top = 1,
       .pad_left = 1,
       .residual = true},
      {.name = "conv_1x1", .kernel = {24, 40, 1, 1, 1}, .height = 5, .width = 6, .out_height = 5, .out_width = 6},
      {.name = "conv_time", .kernel = {64, 32, 3, 1, 1}, .height = 5, .width = 6, .out_height = 5, .out_width = 6},
      {.name = "conv_upsample",
       .kernel = {32, 64, 1, 3, 3},
       .height = 5,
       .width = 7,
       .out_height = 10,
       .out_width = 14,
       .upsample = 2,
       .pad_top = 1,
       .pad_left = 1},
      // Pads right and below: 11 x 9 to 5 x 4 reads one row and column beyond at even sizes only.
      {.name = "conv_stride",
       .kernel = {48, 16, 1, 3, 3},
       .height = 10,
       .width = 8,
       .out_height = 5,
       .out_width = 4,
       .stride = 2},
      {.name = "conv_three_channels",
       .kernel = {40, 3, 3, 3, 3},
       .height = 6,
       .width = 9,
       .out_height = 6,
       .out_width = 9,
       .pad_top = 1,
       .pad_left = 1},
      {.name = "conv_to_pixels",
       .kernel = {3, 96, 3, 3, 3},
       .height = 6,
       .width = 9,
       .out_height = 6,
       .out_width = 9,
       .pad_top = 1,
       .pad_left = 1},
      // A frame beside the one before it, as the tiny decoders' blocks read them.
      {.name = "conv_memory",
       .kernel = {48, 48, 2, 3, 3},
       .height = 7,
       .width = 9,
       .out_height = 7,
       .out_width = 9,
       .pad_top = 1,
       .pad_left = 1,
       .residual = true,
       .relu = true},
      {.name = "conv_upsample_relu",
       .kernel = {16, 32, 1, 3, 3},
       .height = 4,
       .width = 5,
       .out_height = 8,
       .out_width = 10,
       .upsample = 2,
       .pad_top = 1,
       .pad_left = 1,
       .relu = true},
      {.name = "conv_deep",
       .kernel = {72, 384, 3, 3, 3},
       .height = 4,
       .width = 5,
       .out_height = 4,
       .out_width = 5,
       .pad_top = 1,
       .pad_left = 1,
       .f32 = true},
  };
  for (ConvShape shape : convs) {
    cases.push_back(MakeCase(shape));
    if (shape.f32) continue;
    shape.name += "_f32";
    shape.f32 = true;
    cases.push_back(MakeCase(shape));
  }
  return cases;
}

}  // namespace longtake
