#include "engine/ops/shuffle.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "engine/ops/check.h"

namespace longtake {
namespace {

bool IsFrame(const ConstMat& frame, int64_t rows, int64_t columns) {
  return frame.dtype == DType::kF32 && frame.rows == rows && frame.cols == columns;
}

}  // namespace

void ShuffleOps::DepthToSpace(const DepthToSpaceArgs& args) {
  constexpr const char* kName = "DepthToSpace";
  const int64_t rows = int64_t{args.height} * args.width, volume = args.factor.volume();
  const int64_t channels = args.in.cols / volume, area = int64_t{args.factor.h} * args.factor.w;
  Require(IsFrame(args.in, rows, channels * volume), kName, "in is f32 [height * width, C * volume]");
  Require(args.out.size() == static_cast<size_t>(args.factor.t), kName, "out has factor.t frames");
  Require(std::ranges::all_of(args.out, [&](const Mat& m) { return IsFrame(m, rows * area, channels); }), kName,
          "out is f32 [height * h * width * w, C]");
  if (args.residual.data != nullptr) {
    const int64_t repeated = args.residual.cols / volume;
    Require(repeated > 0 && channels % repeated == 0 && IsFrame(args.residual, rows, repeated * volume), kName,
            "residual is f32 [height * width, R * volume], where R divides C");
  }
  const ProfilerScope scope(profiler(), kName);
  DoDepthToSpace(args);
}

void ShuffleOps::SpaceToDepth(const SpaceToDepthArgs& args) {
  constexpr const char* kName = "SpaceToDepth";
  const int64_t rows = int64_t{args.height} * args.width, volume = args.factor.volume();
  const int64_t fine_rows = rows * args.factor.h * args.factor.w;
  Require(IsFrame(args.out, rows, args.out.cols) && args.out.cols % volume == 0, kName,
          "out is f32 [height * width, a multiple of volume]");
  Require(args.in.size() == static_cast<size_t>(args.factor.t) && args.residual.size() == args.in.size(), kName,
          "in and residual have factor.t frames");
  for (size_t i = 0; i < args.in.size(); ++i) {
    Require(IsFrame(args.in[i], fine_rows, args.out.cols / volume), kName,
            "in is f32 [height * h * width * w, out.cols / volume]");
    const int64_t width = args.residual[i].cols;
    Require(IsFrame(args.residual[i], fine_rows, args.residual[0].cols) && width * volume % args.out.cols == 0, kName,
            "residual is f32 [height * h * width * w, W], where out.cols divides W * volume");
  }
  const ProfilerScope scope(profiler(), kName);
  DoSpaceToDepth(args);
}

}  // namespace longtake
