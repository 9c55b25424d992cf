#include <algorithm>
#include <cstdint>

#include "engine/cuda/families.h"
#include "engine/cuda/kernels/conv.h"
#include "engine/cuda/kernels/grid.h"
#include "engine/cuda/segment_tables.h"
#include "engine/cuda/weights.h"
#include "engine/ops/check.h"

namespace longtake::cuda {
namespace {

class CudaConvolution final : public ConvolutionOps {
 public:
  CudaConvolution(FamilyContext* family, StreamState& state) : ConvolutionOps(family), state_(state) {}
  bool activates_at_reading() const override { return true; }

 private:
  void DoConv(const ConvArgs& args) override {
    const auto& kernel = static_cast<const CudaKernel&>(args.kernel);
    const KernelShape& shape = kernel.shape();
    if (shape.kt > ConvLaunch::kMostFrames) {  // no model has such
      state_.launcher().Check(cudaErrorInvalidValue, "conv: more than three taps in time");
      return;
    }
    ConvLaunch launch = {.weight = kernel.bf16(),
                         .weight_stride = kernel.stride(),
                         .bias = kernel.bias(),
                         .inputs = static_cast<int>(shape.inputs),
                         .outputs = static_cast<int>(shape.outputs),
                         .kt = shape.kt,
                         .kh = shape.kh,
                         .kw = shape.kw,
                         .in_height = args.in_height,
                         .in_width = args.in_width,
                         .out_height = args.out_height,
                         .out_width = args.out_width,
                         .stride = args.stride,
                         .upsample = args.upsample,
                         .pad_top = args.pad_top,
                         .pad_left = args.pad_left,
                         .reflect = args.border == Border::kReflect,
                         .wide = args.out.front().dtype == DType::kF32,
                         .relu = args.activation == Activation::kRelu};
    // One launch a frame: models ask for one frame, whose pointers travel with the launch instead of in tables.
    for (size_t f = 0; f < args.out.size(); ++f) {
      for (int dt = 0; dt < shape.kt; ++dt) launch.in[dt] = args.in[f * shape.kt + dt].data;
      launch.out = args.out[f].data;
      launch.residual = args.residual.empty() ? nullptr : args.residual[f].data;
      RunConv(state_.launcher(), launch);
    }
  }

  void DoDepthwiseGlu(const DepthwiseGluArgs& args) override {
    const auto& kernel = static_cast<const CudaDepthwise&>(args.kernel);
    for (const Segment& s : args.segments) {
      Require((kLines + 2) * s.width * args.x.stride <= UINT32_MAX, "DepthwiseGlu", "a group of lines fits 32 bits");
    }
    const SegmentTables tables(*state_.context, args.segments, 1,
                               [](const Segment& s) { return int64_t{s.frames} * LineGroups(s.height); });
    RunDepthwiseGlu(state_.launcher(), {.x = RowsOf(args.x),
                                        .silu = args.activation == Activation::kSilu,
                                        .weight = kernel.weight(),
                                        .bias = kernel.bias(),
                                        .segments = state_.staging().Put(tables.segments),
                                        .shares = state_.staging().Put(tables.shares),
                                        .share_count = tables.share_count(),
                                        .y = RowsOf(args.y)});
  }

  // The three frames side by side make one product of three times the inputs. Gathering moves 2 x 210 MB a layer at
  // 15 600 tokens; three products that add to one another would move 700 MB of float32 sums.
  void DoTemporalConv(const TemporalConvArgs& args) override {
    const auto& kernel = static_cast<const CudaKernel&>(args.kernel);
    SegmentTables tables(*state_.context, args.segments, kGatherRows, [](const Segment& s) { return s.rows(); });
    for (size_t i = 0; i < args.segments.size(); ++i) tables.segments[i].in = args.tails[i].data;
    const int64_t stride = kernel.stride();
    void* gathered = state_.context->Take(ScratchPiece::kFrames, args.x.rows * stride * SizeOf(DType::kBF16));
    RunGatherFrames(state_.launcher(), {.y = RowsOf(args.x),
                                        .segments = state_.staging().Put(tables.segments),
                                        .shares = state_.staging().Put(tables.shares),
                                        .share_count = tables.share_count(),
                                        .out = gathered,
                                        .stride = stride});
    state_.products->Run(kernel, {gathered, DType::kBF16, args.x.rows, kernel.inputs(), stride}, args.epilogue, &args.x,
                         args.out);
  }

  StreamState& state_;
};

}  // namespace

std::unique_ptr<ConvolutionOps> MakeConvolution(FamilyContext* family, StreamState& state) {
  return std::make_unique<CudaConvolution>(family, state);
}

}  // namespace longtake::cuda
