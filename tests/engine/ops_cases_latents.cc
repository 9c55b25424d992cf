// Between latents, tokens, frames and pixels.
#include <array>

#include "tests/engine/ops_cases.h"

namespace longtake {
namespace {

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
    ops.latents().Patchify(
        {.latents = in, .segments = segments, .channels = kChannels, .patch = patch, .tokens = tokens});
    return Cut(groups, bench.Read(tokens), [&](int g) { return TokensOf(g) * width; });
  }
  const auto values = Concatenate(groups, [&](int g) { return Random(TokensOf(g) * width, 2, g); });
  ops.latents().Unpatchify({.tokens = bench.Upload(values, width, DType::kF32),
                            .segments = segments,
                            .channels = kChannels,
                            .patch = patch,
                            .latents = latents});
  GroupResults results;
  for (size_t i = 0; i < groups.size(); ++i)
    results[groups[i]] = bench.ReadFloats(latents[i], TokensOf(groups[i]) * width);
  return results;
}

constexpr int kHeight = 6, kWidth = 10;

// `f32`: the frame's type, whatever the activation type, as the VAE's last layer has it.
GroupResults RunPixels(Ops& ops, const Groups& groups, int patch, const std::string& what, bool f32) {
  Bench bench(ops);
  GroupResults results;
  const int64_t pixels = int64_t{kHeight} * patch * kWidth * patch, channels = 3 * patch * patch;
  for (int g : groups) {
    const DType type = f32 ? DType::kF32 : ops.activation_type();
    const Mat frame = bench.Upload(Random(3 * pixels, 1, g, 0.7f), channels, type);
    if (what == "planar") {
      float* planar = bench.Floats(std::vector<float>(3 * pixels));
      ops.latents().FrameToPlanar(
          {.frame = frame, .height = kHeight, .width = kWidth, .patch = patch, .planar = planar});
      results[g] = bench.ReadFloats(planar, 3 * pixels);
    } else if (what == "frame") {
      ops.latents().PlanarToFrame({.planar = bench.Floats(Random(3 * pixels, 2, g)),
                                   .height = kHeight,
                                   .width = kWidth,
                                   .patch = patch,
                                   .frame = frame});
      results[g] = bench.Read(frame);
    } else {
      auto* bytes = reinterpret_cast<uint8_t*>(bench.Bytes(pixels * 3 / 2));
      ops.latents().FrameToI420({.frame = frame,
                                 .height = kHeight,
                                 .width = kWidth,
                                 .patch = patch,
                                 .y = bytes,
                                 .u = bytes + pixels,
                                 .v = bytes + pixels * 5 / 4});
      std::vector<uint8_t> host(pixels * 3 / 2);
      ops.device().Download(bytes, host.data(), host.size());
      results[g].assign(host.begin(), host.end());
    }
  }
  return results;
}

GroupResults RunLatents(Ops& ops, const Groups& groups, bool back, bool f32) {
  Bench bench(ops);
  constexpr int64_t kFrames = 3, kChannels = 7, kPixels = 60;
  const auto mean = Random(kChannels, 1), std = Random(kChannels, 2, 0, 0.1f, 1.f);
  GroupResults results;
  for (int g : groups) {
    float* latents = bench.Floats(Random(kFrames * kChannels * kPixels, 3, g));
    const Mat frame = bench.Upload(Random(kPixels * (kChannels + 2 * back), 4, g), kChannels + 2 * back,
                                   f32 ? DType::kF32 : ops.activation_type());
    if (back) {
      ops.latents().FrameToLatents(
          {.frame = frame, .mean = mean, .std = std, .frames = kFrames, .t = g, .latents = latents});
      results[g] = bench.ReadFloats(latents, kFrames * kChannels * kPixels);
    } else {
      ops.latents().LatentsToFrame(
          {.latents = latents, .frames = kFrames, .t = g, .mean = mean, .std = std, .frame = frame});
      results[g] = bench.Read(frame);
    }
  }
  return results;
}

}  // namespace

std::vector<OpsCase> LatentCases() {
  std::vector<OpsCase> cases;
  for (std::array<int, 3> patch : {std::array{1, 2, 2}, std::array{1, 1, 1}, std::array{2, 1, 3}}) {
    const std::string suffix = std::to_string(patch[0]) + std::to_string(patch[1]) + std::to_string(patch[2]);
    for (bool back : {false, true}) {
      cases.push_back({(back ? "unpatchify_" : "patchify_") + suffix, 3,
                       [=](Ops& ops, const Groups& groups) { return RunPatchify(ops, groups, patch, back); }});
    }
  }
  for (int patch : {1, 2}) {
    for (const char* what : {"planar", "frame", "i420"}) {
      const std::string name = std::string("pixels_") + what + std::to_string(patch);
      cases.push_back(
          {name, 3, [=](Ops& ops, const Groups& groups) { return RunPixels(ops, groups, patch, what, false); }});
      if (what == std::string("frame")) continue;  // its frame is act only
      cases.push_back({name + "_f32", 3,
                       [=](Ops& ops, const Groups& groups) { return RunPixels(ops, groups, patch, what, true); }});
    }
  }
  cases.push_back({"latents_to_frame", 3,
                   [](Ops& ops, const Groups& groups) { return RunLatents(ops, groups, /*back=*/false, false); }});
  for (bool f32 : {false, true}) {
    cases.push_back({f32 ? "frame_to_latents_f32" : "frame_to_latents", 3,
                     [f32](Ops& ops, const Groups& groups) { return RunLatents(ops, groups, /*back=*/true, f32); }});
  }
  return cases;
}

}  // namespace longtake
