// Operations that look at the grid of frames, rows and columns: tables of segments, then launches.
#include <algorithm>
#include <vector>

#include "engine/cuda/cuda_ops_impl.h"
#include "engine/cuda/kernels/conv.h"
#include "engine/cuda/kernels/grid.h"
#include "engine/cuda/segment_tables.h"

namespace longtake::cuda {
namespace {

PatchLaunch Patches(Context& context, const SegmentTables& tables, int channels, const std::array<int, 3>& patch) {
  return {.channels = channels,
          .pt = patch[0],
          .ph = patch[1],
          .pw = patch[2],
          .segments = context.staging().Put(tables.segments),
          .shares = context.staging().Put(tables.shares),
          .share_count = tables.share_count()};
}

}  // namespace

void CudaOps::DepthwiseGlu(const PackedKernel& w, ConstMat x, std::span<const Segment> segments, Mat y) {
  const auto& kernel = static_cast<const CudaDepthwise&>(w);
  const SegmentTables tables(*context_, segments, 1,
                             [](const Segment& s) { return int64_t{s.frames} * LineGroups(s.height); });
  RunDepthwiseGlu(context_->launcher(), {.x = RowsOf(x),
                                         .weight = kernel.weight(),
                                         .bias = kernel.bias(),
                                         .segments = context_->staging().Put(tables.segments),
                                         .shares = context_->staging().Put(tables.shares),
                                         .share_count = tables.share_count(),
                                         .y = RowsOf(y)});
}

void CudaOps::TemporalConv(const PackedKernel& w, ConstMat y, std::span<const Segment> segments,
                           std::span<const void* const> tails, const Epilogue& e, Mat h) {
  const auto& kernel = static_cast<const CudaKernel&>(w);
  SegmentTables tables(*context_, segments, kGatherRows, [](const Segment& s) { return s.rows(); });
  for (size_t i = 0; i < segments.size(); ++i) tables.segments[i].in = tails[i];
  // The three frames side by side make one product of three times the inputs. Gathering moves 2 x 210 MB a layer at
  // 15 600 tokens; three products that add to one another would move 700 MB of float32 sums.
  const int64_t stride = kernel.stride();
  void* gathered = context_->Take(Scratch::kFrames, y.rows * stride * SizeOf(DType::kBF16));
  RunGatherFrames(context_->launcher(), {.y = RowsOf(y),
                                         .segments = context_->staging().Put(tables.segments),
                                         .shares = context_->staging().Put(tables.shares),
                                         .share_count = tables.share_count(),
                                         .out = gathered,
                                         .stride = stride});
  RunDense(kernel, {gathered, DType::kBF16, y.rows, kernel.inputs(), stride}, e, &y, h);
}

void CudaOps::Patchify(std::span<const float* const> latents, std::span<const Segment> segments, int channels,
                       std::array<int, 3> patch, Mat tokens) {
  SegmentTables tables(*context_, segments, kPatchRows, [](const Segment& s) { return s.rows(); });
  for (size_t i = 0; i < segments.size(); ++i) tables.segments[i].in = latents[i];
  RunPatchify(context_->launcher(), Patches(*context_, tables, channels, patch), tokens);
}

void CudaOps::Unpatchify(ConstMat tokens, std::span<const Segment> segments, int channels, std::array<int, 3> patch,
                         std::span<float* const> latents) {
  SegmentTables tables(*context_, segments, kPatchRows, [](const Segment& s) { return s.rows(); });
  for (size_t i = 0; i < segments.size(); ++i) tables.segments[i].out = latents[i];
  RunUnpatchify(context_->launcher(), Patches(*context_, tables, channels, patch), tokens);
}

void CudaOps::Conv(const ConvArgs& args) {
  const auto& kernel = static_cast<const CudaKernel&>(*args.kernel);
  const KernelShape& shape = kernel.shape();
  if (shape.kt > ConvLaunch::kMostFrames) {  // no model has such
    context_->launcher().Check(cudaErrorInvalidValue, "conv: more than three taps in time");
    return;
  }
  ConvLaunch a = {.weight = kernel.bf16(),
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
                  .wide = args.wide};
  // A launch a frame: models ask for one, whose pointers travel with the launch instead of in tables.
  for (size_t f = 0; f < args.out.size(); ++f) {
    std::copy_n(args.in.begin() + f * shape.kt, shape.kt, a.in);
    a.out = args.out[f];
    a.residual = args.residual.empty() ? nullptr : args.residual[f];
    RunConv(context_->launcher(), a);
  }
}

}  // namespace longtake::cuda
