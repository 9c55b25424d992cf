#include "engine/ops/elementwise.h"

#include "engine/ops/check.h"

namespace longtake {

void ElementwiseOps::Convert(ConstMat x, Mat y) {
  constexpr const char* kName = "Convert";
  Require(IsActOrFloat(x.dtype) && IsActOrFloat(y.dtype), kName, "x and y are act or f32");
  Require(x.rows == y.rows && x.cols == y.cols, kName, "x and y have one shape");
  const ProfilerScope scope(profiler(), kName);
  DoConvert(x, y);
}

void ElementwiseOps::Activate(ConstMat x, Activation activation, Mat y) {
  constexpr const char* kName = "Activate";
  Require(IsActOrFloat(x.dtype) && IsActOrFloat(y.dtype), kName, "x and y are act or f32");
  Require(x.rows == y.rows && x.cols == y.cols, kName, "x and y have one shape");
  const ProfilerScope scope(profiler(), kName);
  DoActivate(x, activation, y);
}

void ElementwiseOps::AddRow(ConstMat x, const float* row, Mat y) {
  constexpr const char* kName = "AddRow";
  Require(x.dtype == DType::kF32 && y.dtype == DType::kF32, kName, "x and y are f32");
  Require(x.rows == y.rows && x.cols == y.cols, kName, "x and y have one shape");
  const ProfilerScope scope(profiler(), kName);
  DoAddRow(x, row, y);
}

}  // namespace longtake
