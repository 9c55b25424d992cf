#include "engine/models/wan/layers.h"

#include <array>
#include <cmath>
#include <cstddef>

namespace longtake {
namespace {

// Returns the frames that a kernel with three taps in time reads when `in` is frame t of its ring, and `before` frames
// came before it.
std::array<ConstMat, 3> History(const VaeContext& ctx, int ring, int64_t t, int64_t before, const ConstMat& in) {
  ConstMat before_last = in, last = in;
  before_last.data = before >= 2 ? RingFrame(ctx, ring, t - 2, nullptr) : nullptr;
  last.data = before >= 1 ? RingFrame(ctx, ring, t - 1, nullptr) : nullptr;
  return {before_last, last, in};
}

}  // namespace

WanConv WanConv::Load(WanLoader& loader, const std::string& name, int stage, int64_t inputs, int64_t outputs) {
  const KernelShape shape{.outputs = outputs, .inputs = inputs, .kt = 3, .kh = 3, .kw = 3};
  return {
      .kernel = loader.Kernel(name, shape), .ring = loader.Ring({.stage = stage, .channels = inputs}), .stage = stage};
}

Mat WanConv::Input(const VaeContext& ctx, int64_t seen, std::byte* n) const {
  return ActFrame(ctx, RingFrame(ctx, ring, seen, n), stage, kernel->shape().inputs);
}

void WanConv::Run(const VaeContext& ctx, int64_t seen, ConstMat in, Mat out, bool residual) const {
  const FrameSize size = ctx.plan->stages[stage];
  const std::array<ConstMat, 3> history = History(ctx, ring, seen, seen, in);
  const ConstMat addend = out;
  ConvArgs args = Conv3x3(*kernel, size, history, size, out);
  args.residual = {&addend, residual ? size_t{1} : size_t{0}};
  ctx.ops->convolution().Conv(args);
}

void RunTemporal(const VaeContext& ctx, const PackedKernel& kernel, int ring, int stage, int64_t t, int64_t before,
                 ConstMat in, Mat out) {
  const FrameSize size = ctx.plan->stages[stage];
  const std::array<ConstMat, 3> history = History(ctx, ring, t, before, in);
  ctx.ops->convolution().Conv({.kernel = kernel,
                               .in = history,
                               .in_height = size.height,
                               .in_width = size.width,
                               .out = {&out, 1},
                               .out_height = size.height,
                               .out_width = size.width});
}

WanResidual WanResidual::Load(WanLoader& loader, const std::string& name, int stage, int64_t inputs, int64_t outputs) {
  WanResidual block;
  block.inputs = inputs;
  block.outputs = outputs;
  block.norm1 = loader.Gamma(name + ".norm1", inputs);
  block.conv1 = WanConv::Load(loader, name + ".conv1", stage, inputs, outputs);
  block.norm2 = loader.Gamma(name + ".norm2", outputs);
  block.conv2 = WanConv::Load(loader, name + ".conv2", stage, outputs, outputs);
  if (inputs != outputs) {
    block.shortcut = loader.Kernel(name + ".conv_shortcut", {.outputs = outputs, .inputs = inputs});
  }
  return block;
}

void WanResidual::Run(const VaeContext& ctx, int64_t seen, std::byte* x, std::byte* n, std::byte* y) const {
  const int stage = conv1.stage;
  const Mat in = FloatFrame(ctx, x, stage, inputs), out = FloatFrame(ctx, x, stage, outputs);
  const Mat hidden = FloatFrame(ctx, y, stage, outputs);
  const Mat normed1 = conv1.Input(ctx, seen, n), normed2 = conv2.Input(ctx, seen, n);
  ctx.ops->norm().ChannelNorm({.x = in, .gamma = norm1->f32(), .silu = true, .y = normed1});
  conv1.Run(ctx, seen, normed1, hidden);
  ctx.ops->norm().ChannelNorm({.x = hidden, .gamma = norm2->f32(), .silu = true, .y = normed2});
  if (shortcut != nullptr) {
    const Mat rounded = ActFrame(ctx, y, stage, inputs);  // reuses the memory of `hidden`
    ctx.ops->elementwise().Convert(in, rounded);
    ctx.ops->dense().Linear({.kernel = *shortcut, .x = rounded, .y = out});
  }
  conv2.Run(ctx, seen, normed2, out, /*residual=*/true);
}

WanMiddle WanMiddle::Load(WanLoader& loader, const std::string& name, int stage, int64_t width) {
  WanMiddle middle;
  middle.width = width;
  middle.stage = stage;
  middle.before = WanResidual::Load(loader, name + ".resnets.0", stage, width, width);
  middle.norm = loader.Gamma(name + ".attentions.0.norm", width, /*spatial=*/true);
  middle.qkv = loader.Kernel(name + ".attentions.0.to_qkv", {.outputs = 3 * width, .inputs = width}, /*spatial=*/true);
  middle.project = loader.Kernel(name + ".attentions.0.proj", {.outputs = width, .inputs = width}, /*spatial=*/true);
  middle.after = WanResidual::Load(loader, name + ".resnets.1", stage, width, width);
  return middle;
}

void WanMiddle::Run(const VaeContext& ctx, int64_t seen, std::byte* x, std::byte* work) const {
  Ops* ops = ctx.ops;
  const FrameSize size = ctx.plan->stages[stage];
  const size_t frame = Aligned(size.pixels() * width * SizeOf(ops->activation_type()));
  std::byte* n = work;
  std::byte* y = work + frame;  // three frames: q, k and v
  before.Run(ctx, seen, x, n, y);

  const Mat out = FloatFrame(ctx, x, stage, width);
  const Mat normed = ActFrame(ctx, n, stage, width), projected = ActFrame(ctx, y, stage, 3 * width);
  ops->norm().ChannelNorm({.x = out, .gamma = norm->f32(), .y = normed});
  ops->dense().Linear({.kernel = *qkv, .x = normed, .y = projected});
  const SoftmaxAttentionSegment whole{.first_row = 0, .rows = size.pixels(), .key_rows = size.pixels()};
  ops->attention().SoftmaxAttention({.qkv = projected,
                                     .heads = 1,
                                     .kv_heads = 1,
                                     .head_dim = static_cast<int>(width),
                                     .scale = 1.f / std::sqrt(static_cast<float>(width)),
                                     .segments = {&whole, 1},
                                     .out = normed});
  const ConstMat attended = normed, residual = out;
  ops->convolution().Conv({.kernel = *project,
                           .in = {&attended, 1},
                           .in_height = size.height,
                           .in_width = size.width,
                           .out = {&out, 1},
                           .out_height = size.height,
                           .out_width = size.width,
                           .residual = {&residual, 1}});
  after.Run(ctx, seen, x, n, y);
}

WanHead WanHead::Load(WanLoader& loader, const std::string& name, int stage, int64_t inputs, int64_t outputs) {
  WanHead head;
  head.norm = loader.Gamma(name + ".norm_out", inputs);
  head.conv = WanConv::Load(loader, name + ".conv_out", stage, inputs, outputs);
  return head;
}

void WanHead::Run(const VaeContext& ctx, int64_t seen, std::byte* x, std::byte* n, Mat out) const {
  const int64_t inputs = conv.kernel->shape().inputs;
  const Mat normed = conv.Input(ctx, seen, n);
  ctx.ops->norm().ChannelNorm(
      {.x = FloatFrame(ctx, x, conv.stage, inputs), .gamma = norm->f32(), .silu = true, .y = normed});
  conv.Run(ctx, seen, normed, out);
}

}  // namespace longtake
