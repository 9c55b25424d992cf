#include "engine/ops/dense.h"

#include <algorithm>

#include "engine/ops/check.h"

namespace longtake {

void DenseOps::Linear(const LinearArgs& args) {
  constexpr const char* kName = "Linear";
  const KernelShape& shape = args.kernel.shape();
  Require(shape.taps() == 1, kName, "the kernel has one tap");
  Require(IsAct(args.x.dtype) && args.x.cols == shape.inputs, kName, "x is act [N, inputs]");
  Require(IsActOrFloat(args.y.dtype) && args.y.cols == shape.outputs, kName, "y is act or f32 [N, outputs]");
  Require(args.x.rows == args.y.rows, kName, "x and y have equally many rows");
  Require(!args.epilogue.residual || args.y.dtype == DType::kF32, kName, "y is f32 where it is a residual");
  Require(args.epilogue.gate == nullptr || args.epilogue.residual, kName, "only a residual has a gate");
  Require(args.epilogue.gate == nullptr || static_cast<int64_t>(args.epilogue.mod_row.size()) >= args.y.rows, kName,
          "mod_row has an entry for each row of y");
  RequireLowRank(args.low_rank, shape, args.y.rows, adds_low_rank(), kName);
  const ProfilerScope scope(profiler(), kName);
  DoLinear(args);
}

void DenseOps::LinearGated(const LinearGatedArgs& args) {
  constexpr const char* kName = "LinearGated";
  const KernelShape& shape = args.kernel.shape();
  Require(IsAct(args.x.dtype) && args.x.cols == shape.inputs, kName, "x is act [N, inputs]");
  Require(IsAct(args.y.dtype) && args.y.cols == shape.outputs, kName, "y is act [N, outputs]");
  Require(args.x.rows == args.y.rows, kName, "x and y have equally many rows");
  const ProfilerScope scope(profiler(), kName);
  DoLinearGated(args);
}

void DenseOps::Embed(const EmbedArgs& args) {
  constexpr const char* kName = "Embed";
  Require(args.y.dtype == DType::kF32 && args.y.cols == args.table.width, kName, "y is f32 [ids, width]");
  Require(args.y.rows == static_cast<int64_t>(args.ids.size()), kName, "y has a row for each id");
  Require(std::ranges::all_of(args.ids, [&](int32_t id) { return id >= 0 && id < args.table.rows; }), kName,
          "ids are rows of the table");
  const ProfilerScope scope(profiler(), kName);
  DoEmbed(args);
}

}  // namespace longtake
