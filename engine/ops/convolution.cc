#include "engine/ops/convolution.h"

#include <algorithm>

#include "engine/ops/check.h"

namespace longtake {
namespace {

bool Within(std::span<const Segment> segments, int64_t rows) {
  return std::ranges::all_of(segments,
                             [&](const Segment& s) { return s.first_row >= 0 && s.first_row + s.rows() <= rows; });
}

bool WithoutGaps(std::span<const Segment> segments) {
  int64_t rows = 0;
  return std::ranges::all_of(segments, [&](const Segment& s) {
    const bool next = s.first_row == rows;
    rows += s.rows();
    return next;
  });
}

}  // namespace

void ConvolutionOps::Conv(const ConvArgs& args) {
  constexpr const char* kName = "Conv";
  const KernelShape& shape = args.kernel.shape();
  const int64_t in_pixels = int64_t{args.in_height} * args.in_width;
  const int64_t out_pixels = int64_t{args.out_height} * args.out_width;
  Require(!args.out.empty() && args.in.size() == args.out.size() * shape.kt, kName, "in has kt frames for each of out");
  for (const ConstMat& frame : args.in) {
    Require(frame.data == nullptr || (IsAct(frame.dtype) && frame.rows == in_pixels && frame.cols == shape.inputs),
            kName, "in is act [in_height * in_width, inputs]");
  }
  const DType type = args.out.front().dtype;
  for (const Mat& frame : args.out) {
    Require(IsActOrFloat(type) && frame.dtype == type && frame.rows == out_pixels && frame.cols == shape.outputs, kName,
            "out is act or f32 [out_height * out_width, outputs]");
  }
  Require(args.residual.empty() || args.residual.size() == args.out.size(), kName,
          "residual has as many frames as out");
  for (const ConstMat& frame : args.residual) {
    Require(frame.dtype == type && frame.rows == out_pixels && frame.cols == shape.outputs, kName,
            "residual has the type and shape of out");
  }
  Require(args.stride >= 1 && (args.upsample == 1 || args.upsample == 2), kName, "stride >= 1, upsample 1 or 2");
  const auto one_outside = [&](int in, int out, int pad, int taps) {
    return pad <= 1 && (out - 1) * args.stride + taps - 1 - pad <= in;
  };
  Require(args.border == Border::kZeros ||
              (args.upsample == 1 && one_outside(args.in_height, args.out_height, args.pad_top, shape.kh) &&
               one_outside(args.in_width, args.out_width, args.pad_left, shape.kw)),
          kName, "a reflected border is one pixel wide, without upsample");
  Require(args.activation == Activation::kNone || args.activation == Activation::kRelu, kName,
          "activation is none or ReLU");
  const ProfilerScope scope(profiler(), kName);
  DoConv(args);
}

void ConvolutionOps::DepthwiseGlu(const DepthwiseGluArgs& args) {
  constexpr const char* kName = "DepthwiseGlu";
  Require(IsAct(args.x.dtype) && IsAct(args.y.dtype), kName, "x and y are act");
  Require(args.x.cols == 2 * args.y.cols && args.x.rows == args.y.rows, kName, "x is [N, 2C] and y [N, C]");
  Require(Within(args.segments, args.x.rows), kName, "segments lie within the rows");
  Require(args.activation == Activation::kNone || args.activation == Activation::kSilu, kName,
          "activation is none or SiLU");
  const ProfilerScope scope(profiler(), kName);
  DoDepthwiseGlu(args);
}

void ConvolutionOps::TemporalConv(const TemporalConvArgs& args) {
  constexpr const char* kName = "TemporalConv";
  const KernelShape& shape = args.kernel.shape();
  Require(shape.taps() == 3 && shape.kt == 3 && shape.inputs == shape.outputs, kName, "the kernel is D to D, kt = 3");
  Require(IsAct(args.x.dtype) && args.x.cols == shape.inputs, kName, "x is act [N, D]");
  Require(args.out.dtype == DType::kF32 && args.out.cols == shape.outputs, kName, "out is f32 [N, D]");
  Require(args.x.rows == args.out.rows && Within(args.segments, args.x.rows), kName, "segments lie within the rows");
  Require(args.epilogue.residual && args.epilogue.activation == Activation::kNone, kName,
          "the result is added, without an activation");
  Require(args.epilogue.gate == nullptr || static_cast<int64_t>(args.epilogue.mod_row.size()) >= args.out.rows, kName,
          "mod_row has an entry for each row of out");
  Require(args.tails.size() == args.segments.size(), kName, "tails has an entry for each segment");
  for (size_t i = 0; i < args.tails.size(); ++i) {
    const ConstMat& tail = args.tails[i];
    const int64_t pixels = int64_t{args.segments[i].height} * args.segments[i].width;
    Require(tail.data == nullptr || (IsAct(tail.dtype) && tail.rows == pixels && tail.cols == shape.inputs), kName,
            "a tail is act [height * width, D]");
  }
  RequireLowRank(args.low_rank, shape, args.x.rows, adds_low_rank(), kName);
  Require(args.low_rank.empty() || WithoutGaps(args.segments), kName, "segments with low-rank terms have no gaps");
  const ProfilerScope scope(profiler(), kName);
  DoTemporalConv(args);
}

}  // namespace longtake
