#include "engine/ops/norm.h"

#include "engine/ops/check.h"

namespace longtake {
namespace {

bool SameShape(const ConstMat& x, const Mat& y) { return x.rows == y.rows && x.cols == y.cols; }

}  // namespace

void NormOps::LayerNorm(const LayerNormArgs& args) {
  constexpr const char* kName = "LayerNorm";
  Require(args.x.dtype == DType::kF32, kName, "x is f32");
  Require(IsAct(args.y.dtype), kName, "y is act");
  Require(SameShape(args.x, args.y), kName, "x and y have one shape");
  Require((args.shift == nullptr) == (args.scale == nullptr), kName, "shift and scale come together");
  Require(args.shift == nullptr || static_cast<int64_t>(args.mod_row.size()) >= args.y.rows, kName,
          "mod_row has an entry for each row of y");
  const ProfilerScope scope(profiler(), kName);
  DoLayerNorm(args);
}

void NormOps::RmsNorm(const RmsNormArgs& args) {
  constexpr const char* kName = "RmsNorm";
  Require(IsActOrFloat(args.x.dtype) && IsActOrFloat(args.y.dtype), kName, "x and y are act or f32");
  Require(SameShape(args.x, args.y), kName, "x and y have one shape");
  Require(!args.residual || args.y.dtype == DType::kF32, kName, "y is f32 where it is a residual");
  const ProfilerScope scope(profiler(), kName);
  DoRmsNorm(args);
}

void NormOps::ChannelNorm(const ChannelNormArgs& args) {
  constexpr const char* kName = "ChannelNorm";
  Require(IsActOrFloat(args.x.dtype), kName, "x is act or f32");
  Require(IsAct(args.y.dtype), kName, "y is act");
  Require(SameShape(args.x, args.y), kName, "x and y have one shape");
  const ProfilerScope scope(profiler(), kName);
  DoChannelNorm(args);
}

}  // namespace longtake
