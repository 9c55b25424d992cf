#include "engine/ops/hybrid.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "engine/ops/check.h"

namespace longtake {
namespace {

bool IsFloat(const ConstMat& m, int64_t rows, int64_t columns) {
  return m.dtype == DType::kF32 && m.rows == rows && m.cols == columns;
}

}  // namespace

void HybridOps::DepthAttention(const DepthAttentionArgs& args) {
  constexpr const char* kName = "DepthAttention";
  Require(!args.sources.empty() && args.sources.size() <= DepthAttentionArgs::kMostSources, kName,
          "there are from 1 to kMostSources sources");
  Require(IsFloat(args.out, args.out.rows, args.out.cols), kName, "out is f32 [N, D]");
  Require(
      std::ranges::all_of(args.sources, [&](const ConstMat& m) { return IsFloat(m, args.out.rows, args.out.cols); }),
      kName, "sources are f32 [N, D]");
  const ProfilerScope scope(profiler(), kName);
  DoDepthAttention(args);
}

void HybridOps::RotateOnGrid(const RotateOnGridArgs& args) {
  constexpr const char* kName = "RotateOnGrid";
  const int64_t width = int64_t{args.heads} * args.head_dim;
  Require(IsFloat(args.qkv, args.qkv.rows, 3 * width), kName, "qkv is f32 [N, 3D]");
  Require(IsAct(args.out.dtype) && args.out.rows == args.qkv.rows && args.out.cols == 3 * width, kName,
          "out is act [N, 3D]");
  Require(
      std::ranges::all_of(
          args.segments, [&](const Segment& s) { return s.first_row >= 0 && s.first_row + s.rows() <= args.qkv.rows; }),
      kName, "segments lie within the rows");
  const ProfilerScope scope(profiler(), kName);
  DoRotateOnGrid(args);
}

void HybridOps::GateHeads(const GateHeadsArgs& args) {
  constexpr const char* kName = "GateHeads";
  for (const ConstMat& m : {args.x, args.gate, ConstMat(args.y)}) {
    Require(IsAct(m.dtype) && m.rows == args.y.rows && m.cols == args.y.cols, kName, "x, gate and y are act [N, D]");
  }
  Require(args.head_dim > 0 && args.y.cols % args.head_dim == 0, kName, "head_dim divides D");
  const ProfilerScope scope(profiler(), kName);
  DoGateHeads(args);
}

void HybridOps::AddBranch(const AddBranchArgs& args) {
  constexpr const char* kName = "AddBranch";
  for (const ConstMat& m : {ConstMat(args.stream), ConstMat(args.branch)}) {
    Require(IsFloat(m, args.x.rows, args.x.cols), kName, "stream and branch are f32 [N, D]");
  }
  Require(IsFloat(args.x, args.x.rows, args.x.cols), kName, "x is f32 [N, D]");
  Require(args.mod_row.size() == static_cast<size_t>(args.x.rows), kName, "mod_row has N entries");
  const ProfilerScope scope(profiler(), kName);
  DoAddBranch(args);
}

}  // namespace longtake
