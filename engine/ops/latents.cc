#include "engine/ops/latents.h"

#include <algorithm>

#include "engine/ops/check.h"

namespace longtake {
namespace {

int64_t Elements(int channels, const std::array<int, 3>& patch) {
  return int64_t{channels} * patch[0] * patch[1] * patch[2];
}

bool Within(std::span<const Segment> segments, int64_t rows) {
  return std::ranges::all_of(segments,
                             [&](const Segment& s) { return s.first_row >= 0 && s.first_row + s.rows() <= rows; });
}

bool IsPicture(const ConstMat& frame, int height, int width, int patch) {
  return frame.rows == int64_t{height} * width && frame.cols == int64_t{3} * patch * patch;
}

}  // namespace

void LatentOps::Patchify(const PatchifyArgs& args) {
  constexpr const char* kName = "Patchify";
  Require(args.latents.size() == args.segments.size(), kName, "latents has an entry for each segment");
  Require(IsAct(args.tokens.dtype) && args.tokens.cols == Elements(args.channels, args.patch), kName,
          "tokens is act [N, C * pt * ph * pw]");
  Require(Within(args.segments, args.tokens.rows), kName, "segments lie within the rows");
  const ProfilerScope scope(profiler(), kName);
  DoPatchify(args);
}

void LatentOps::Unpatchify(const UnpatchifyArgs& args) {
  constexpr const char* kName = "Unpatchify";
  Require(args.latents.size() == args.segments.size(), kName, "latents has an entry for each segment");
  Require(args.tokens.dtype == DType::kF32 && args.tokens.cols == Elements(args.channels, args.patch), kName,
          "tokens is f32 [N, pt * ph * pw * C]");
  Require(Within(args.segments, args.tokens.rows), kName, "segments lie within the rows");
  const ProfilerScope scope(profiler(), kName);
  DoUnpatchify(args);
}

void LatentOps::LatentsToFrame(const LatentsToFrameArgs& args) {
  constexpr const char* kName = "LatentsToFrame";
  const auto channels = static_cast<int64_t>(args.mean.size());
  Require(args.std.size() == args.mean.size(), kName, "mean and std are equally long");
  Require(IsAct(args.frame.dtype) && args.frame.cols == channels, kName, "frame is act [h * w, C]");
  Require(args.t >= 0 && args.t < args.frames, kName, "t is one of the frames");
  const ProfilerScope scope(profiler(), kName);
  DoLatentsToFrame(args);
}

void LatentOps::FrameToLatents(const FrameToLatentsArgs& args) {
  constexpr const char* kName = "FrameToLatents";
  const auto channels = static_cast<int64_t>(args.mean.size());
  Require(args.std.size() == args.mean.size(), kName, "mean and std are equally long");
  Require(IsActOrFloat(args.frame.dtype) && args.frame.cols >= channels, kName, "frame has at least C columns");
  Require(args.t >= 0 && args.t < args.frames, kName, "t is one of the frames");
  const ProfilerScope scope(profiler(), kName);
  DoFrameToLatents(args);
}

void LatentOps::FrameToPlanar(const FrameToPlanarArgs& args) {
  constexpr const char* kName = "FrameToPlanar";
  Require(IsActOrFloat(args.frame.dtype) && IsPicture(args.frame, args.height, args.width, args.patch), kName,
          "frame is act or f32 [h * w, 3 * p * p]");
  const ProfilerScope scope(profiler(), kName);
  DoFrameToPlanar(args);
}

void LatentOps::PlanarToFrame(const PlanarToFrameArgs& args) {
  constexpr const char* kName = "PlanarToFrame";
  Require(IsAct(args.frame.dtype) && IsPicture(args.frame, args.height, args.width, args.patch), kName,
          "frame is act [h * w, 3 * p * p]");
  const ProfilerScope scope(profiler(), kName);
  DoPlanarToFrame(args);
}

void LatentOps::FrameToI420(const FrameToI420Args& args) {
  constexpr const char* kName = "FrameToI420";
  Require(IsActOrFloat(args.frame.dtype) && IsPicture(args.frame, args.height, args.width, args.patch), kName,
          "frame is act or f32 [h * w, 3 * p * p]");
  Require(args.height * args.patch % 2 == 0 && args.width * args.patch % 2 == 0, kName, "height and width are even");
  const ProfilerScope scope(profiler(), kName);
  DoFrameToI420(args);
}

}  // namespace longtake
