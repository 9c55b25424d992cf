// What looks at frames: depthwise and temporal convolutions, convolutions, latents and pixels.
#include "tests/engine/ops_cases.h"

namespace longtake {
namespace {

struct Grid {
  int frames, height, width;
};
constexpr Grid kGrids[] = {{2, 3, 7}, {1, 1, 4}, {3, 6, 5}};
int64_t TokensOf(int group) { return int64_t{kGrids[group].frames} * kGrids[group].height * kGrids[group].width; }

std::vector<Segment> Segments(const Groups& groups) {
  std::vector<Segment> segments;
  int64_t row = 0;
  for (int g : groups) {
    segments.push_back({row, kGrids[g].frames, kGrids[g].height, kGrids[g].width, 0});
    row += TokensOf(g);
  }
  return segments;
}

GroupResults RunDepthwise(Ops& ops, const Groups& groups, int64_t half) {
  Bench bench(ops);
  const auto weight = Random(2 * half * 9, 1, 0, 0.4f), bias = Random(2 * half, 2);
  const auto kernel =
      ops.PackDepthwise({weight.data(), DType::kF32, {2 * half, 1, 3, 3}}, {bias.data(), DType::kF32, {2 * half}});
  const Mat x = bench.Act(Concatenate(groups, [&](int g) { return Random(TokensOf(g) * 2 * half, 3, g); }), 2 * half);
  const Mat y = bench.EmptyAct(x.rows, half);
  ops.DepthwiseGlu(*kernel, x, Segments(groups), y);
  return Cut(groups, bench.Read(y), [&](int g) { return TokensOf(g) * half; });
}

GroupResults RunTemporal(Ops& ops, const Groups& groups, int64_t D, bool gated) {
  Bench bench(ops);
  const auto kernel = bench.Kernel({.outputs = D, .inputs = D, .kt = 3}, 1, false);
  const Mat y = bench.Act(Concatenate(groups, [&](int g) { return Random(TokensOf(g) * D, 2, g); }), D);
  const Mat h = bench.Upload(Concatenate(groups, [&](int g) { return Random(TokensOf(g) * D, 3, g); }), D, DType::kF32);
  const std::vector<Segment> segments = Segments(groups);
  std::vector<const void*> tails;
  std::vector<int32_t> mod;
  for (int g : groups) {
    // Group 1 begins its video.
    tails.push_back(g == 1 ? nullptr
                           : bench.Act(Random(int64_t{kGrids[g].height} * kGrids[g].width * D, 4, g), D).data);
    for (int64_t r = 0; r < TokensOf(g); ++r) mod.push_back(static_cast<int32_t>((r / 3 + g) % 2));
  }
  Epilogue e;
  e.residual = true;
  if (gated) {
    e.gate = bench.Floats(Random(2 * 6 * D, 5));
    e.gate_stride = 6 * D;
    e.mod_row = mod;
  }
  ops.TemporalConv(*kernel, y, segments, tails, e, h);
  return Cut(groups, bench.Read(h), [&](int g) { return TokensOf(g) * D; });
}

GroupResults RunPatchify(Ops& ops, const Groups& groups, std::array<int, 3> patch, bool back) {
  Bench bench(ops);
  constexpr int kChannels = 5;
  const int64_t width = int64_t{kChannels} * patch[0] * patch[1] * patch[2];
  const std::vector<Segment> segments = Segments(groups);
  int64_t rows = 0;
  std::vector<float*> latents;
  for (int g : groups) {
    latents.push_back(bench.Floats(Random(TokensOf(g) * width, 1, g)));
    rows += TokensOf(g);
  }
  if (!back) {
    const Mat tokens = bench.EmptyAct(rows, width);
    const std::vector<const float*> in(latents.begin(), latents.end());
    ops.Patchify(in, segments, kChannels, patch, tokens);
    return Cut(groups, bench.Read(tokens), [&](int g) { return TokensOf(g) * width; });
  }
  const auto values = Concatenate(groups, [&](int g) { return Random(TokensOf(g) * width, 2, g); });
  ops.Unpatchify(bench.Upload(values, width, DType::kF32), segments, kChannels, patch, latents);
  GroupResults results;
  for (size_t i = 0; i < groups.size(); ++i)
    results[groups[i]] = bench.ReadFloats(latents[i], TokensOf(groups[i]) * width);
  return results;
}

struct ConvCase {
  const char* name;
  KernelShape shape;
  int height, width, out_height, out_width;
  int stride = 1, upsample = 1, pad_top = 0, pad_left = 0;
  bool residual = false;
};

// A group is one output frame; the first of several input frames is a zero frame for group 0.
GroupResults RunConv(Ops& ops, const Groups& groups, const ConvCase& c) {
  Bench bench(ops);
  const auto kernel = bench.Kernel(c.shape, 1, true);
  std::vector<const void*> in, residual;
  std::vector<void*> out;
  std::vector<Mat> mats;
  for (int g : groups) {
    for (int t = 0; t < c.shape.kt; ++t) {
      const bool zero = g == 0 && t == 0 && c.shape.kt > 1;
      in.push_back(
          zero ? nullptr
               : bench.Act(Random(int64_t{c.height} * c.width * c.shape.inputs, 2 + t, g), c.shape.inputs).data);
    }
    mats.push_back(bench.Act(Random(int64_t{c.out_height} * c.out_width * c.shape.outputs, 9, g), c.shape.outputs));
    out.push_back(mats.back().data);
    if (c.residual) residual.push_back(mats.back().data);
  }
  ops.Conv({.kernel = kernel.get(),
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
  for (size_t i = 0; i < groups.size(); ++i) results[groups[i]] = bench.Read(mats[i]);
  return results;
}

constexpr int kHeight = 6, kWidth = 10;

GroupResults RunPixels(Ops& ops, const Groups& groups, int patch, const std::string& what) {
  Bench bench(ops);
  GroupResults results;
  const int64_t pixels = int64_t{kHeight} * patch * kWidth * patch, channels = 3 * patch * patch;
  for (int g : groups) {
    const Mat frame = bench.Act(Random(3 * pixels, 1, g, 0.7f), channels);
    if (what == "planar") {
      float* planar = bench.Floats(std::vector<float>(3 * pixels));
      ops.FrameToPlanar(frame, kHeight, kWidth, patch, planar);
      results[g] = bench.ReadFloats(planar, 3 * pixels);
    } else if (what == "frame") {
      ops.PlanarToFrame(bench.Floats(Random(3 * pixels, 2, g)), kHeight, kWidth, patch, frame);
      results[g] = bench.Read(frame);
    } else {
      auto* bytes = static_cast<uint8_t*>(bench.Bytes(pixels * 3 / 2));
      ops.FrameToI420(frame, kHeight, kWidth, patch, bytes, bytes + pixels, bytes + pixels * 5 / 4);
      std::vector<uint8_t> host(pixels * 3 / 2);
      ops.Download(bytes, host.data(), host.size());
      results[g].assign(host.begin(), host.end());
    }
  }
  return results;
}

GroupResults RunLatents(Ops& ops, const Groups& groups, bool back) {
  Bench bench(ops);
  constexpr int64_t kFrames = 3, kChannels = 7, kPixels = 60;
  const auto mean = Random(kChannels, 1), std = Random(kChannels, 2, 0, 0.1f, 1.f);
  GroupResults results;
  for (int g : groups) {
    float* latents = bench.Floats(Random(kFrames * kChannels * kPixels, 3, g));
    const Mat frame = bench.Act(Random(kPixels * (kChannels + 2 * back), 4, g), kChannels + 2 * back);
    if (back) {
      ops.FrameToLatents(frame, mean, std, kFrames, g, latents);
      results[g] = bench.ReadFloats(latents, kFrames * kChannels * kPixels);
    } else {
      ops.LatentsToFrame(latents, kFrames, g, mean, std, frame);
      results[g] = bench.Read(frame);
    }
  }
  return results;
}

}  // namespace

std::vector<OpsCase> VideoCases() {
  std::vector<OpsCase> cases;
  for (int64_t half : {64, 291}) {
    cases.push_back({"depthwise_glu_" + std::to_string(half), 3,
                     [half](Ops& ops, const Groups& groups) { return RunDepthwise(ops, groups, half); }});
  }
  cases.push_back(
      {"temporal_conv", 3, [](Ops& ops, const Groups& groups) { return RunTemporal(ops, groups, 64, true); }});
  cases.push_back(
      {"temporal_conv_odd", 3, [](Ops& ops, const Groups& groups) { return RunTemporal(ops, groups, 45, false); }});
  for (std::array<int, 3> patch : {std::array{1, 2, 2}, std::array{1, 1, 1}, std::array{2, 1, 3}}) {
    const std::string suffix = std::to_string(patch[0]) + std::to_string(patch[1]) + std::to_string(patch[2]);
    for (bool back : {false, true}) {
      cases.push_back({(back ? "unpatchify_" : "patchify_") + suffix, 3,
                       [=](Ops& ops, const Groups& groups) { return RunPatchify(ops, groups, patch, back); }});
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
      {.name = "conv_upsample_3",
       .shape = {16, 20, 1, 3, 3},
       .height = 3,
       .width = 4,
       .out_height = 9,
       .out_width = 12,
       .upsample = 3,
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
  }
  for (int patch : {1, 2}) {
    for (const char* what : {"planar", "frame", "i420"}) {
      cases.push_back({std::string("pixels_") + what + std::to_string(patch), 3,
                       [=](Ops& ops, const Groups& groups) { return RunPixels(ops, groups, patch, what); }});
    }
  }
  for (bool back : {false, true}) {
    cases.push_back({back ? "frame_to_latents" : "latents_to_frame", 3,
                     [back](Ops& ops, const Groups& groups) { return RunLatents(ops, groups, back); }});
  }
  return cases;
}

}  // namespace longtake
