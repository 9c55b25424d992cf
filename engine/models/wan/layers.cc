#include "engine/models/wan/layers.h"

#include <array>
#include <cmath>
#include <cstddef>

namespace longtake {
namespace {

std::byte* Slot(const WanContext& ctx, int ring, int64_t frame) {
  const WanPlan::Slot& slot = ctx.plan->rings[ring];
  return ctx.caches + slot.offset + (frame % 2) * Aligned(slot.bytes);
}

// The frames that a kernel of three taps in time sees when `in` is frame number `seen`.
std::array<const void*, 3> History(const WanContext& ctx, int ring, int64_t seen, const void* in) {
  return {seen >= 2 ? Slot(ctx, ring, seen) : nullptr, seen >= 1 ? Slot(ctx, ring, seen - 1) : nullptr, in};
}

}  // namespace

Mat FrameMat(const WanContext& ctx, void* frame, int stage, int64_t channels) {
  return MakeMat(frame, ctx.ops->activation_type(), ctx.plan->stages[stage].pixels(), channels);
}

Mat WideMat(const WanContext& ctx, void* frame, int stage, int64_t channels) {
  return MakeMat(frame, DType::kF32, ctx.plan->stages[stage].pixels(), channels);
}

WanConv WanConv::Load(WanLoader& loader, const std::string& name, int stage, int64_t inputs, int64_t outputs) {
  const KernelShape shape{.outputs = outputs, .inputs = inputs, .kt = 3, .kh = 3, .kw = 3};
  return {.kernel = loader.Kernel(name, shape), .ring = loader.Ring(stage, inputs), .stage = stage};
}

void WanConv::Run(const WanContext& ctx, int64_t seen, const void* in, void* out, const void* residual) const {
  const FrameSize size = ctx.plan->stages[stage];
  const std::array<const void*, 3> history = History(ctx, ring, seen, in);
  ctx.ops->Conv({.kernel = kernel.get(),
                 .in = history,
                 .in_height = size.height,
                 .in_width = size.width,
                 .out = {&out, 1},
                 .out_height = size.height,
                 .out_width = size.width,
                 .pad_top = 1,
                 .pad_left = 1,
                 .residual = {&residual, residual == nullptr ? size_t{0} : size_t{1}},
                 .wide = true});
  Remember(ctx, ring, seen, in);
}

void RunTemporal(const WanContext& ctx, const PackedKernel& kernel, int ring, int stage, int64_t seen, const void* in,
                 void* out, bool wide) {
  const FrameSize size = ctx.plan->stages[stage];
  const std::array<const void*, 3> history = History(ctx, ring, seen, in);
  ctx.ops->Conv({.kernel = &kernel,
                 .in = history,
                 .in_height = size.height,
                 .in_width = size.width,
                 .out = {&out, 1},
                 .out_height = size.height,
                 .out_width = size.width,
                 .wide = wide});
}

void Remember(const WanContext& ctx, int ring, int64_t seen, const void* in) {
  if (ctx.caches == nullptr) return;
  ctx.ops->Copy(in, Slot(ctx, ring, seen), ctx.plan->rings[ring].bytes);
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

void WanResidual::Run(const WanContext& ctx, int64_t seen, void* x, void* n, void* y) const {
  const int stage = conv1.stage;
  Ops* ops = ctx.ops;
  ops->ChannelNorm(WideMat(ctx, x, stage, inputs), norm1->f32(), /*silu=*/true, FrameMat(ctx, n, stage, inputs));
  conv1.Run(ctx, seen, n, y);
  ops->ChannelNorm(WideMat(ctx, y, stage, outputs), norm2->f32(), /*silu=*/true, FrameMat(ctx, n, stage, outputs));
  if (shortcut != nullptr) {
    const Mat narrow = FrameMat(ctx, y, stage, inputs);
    ops->Convert(WideMat(ctx, x, stage, inputs), narrow);
    ops->Linear(*shortcut, narrow, {}, WideMat(ctx, x, stage, outputs));
  }
  conv2.Run(ctx, seen, n, x, x);
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

void WanMiddle::Run(const WanContext& ctx, int64_t seen, void* x, void* work) const {
  Ops* ops = ctx.ops;
  const FrameSize size = ctx.plan->stages[stage];
  const size_t frame = Aligned(size.pixels() * width * SizeOf(ops->activation_type()));
  void* n = work;
  void* y = static_cast<std::byte*>(work) + frame;  // three frames wide for q, k, v
  before.Run(ctx, seen, x, n, y);

  const Mat narrow = FrameMat(ctx, n, stage, width), wide = FrameMat(ctx, y, stage, 3 * width);
  ops->ChannelNorm(WideMat(ctx, x, stage, width), norm->f32(), /*silu=*/false, narrow);
  ops->Linear(*qkv, narrow, {}, wide);
  const SoftmaxAttentionSegment whole{.first_row = 0, .rows = size.pixels(), .key_rows = size.pixels()};
  ops->SoftmaxAttention({.qkv = wide,
                         .heads = 1,
                         .kv_heads = 1,
                         .head_dim = static_cast<int>(width),
                         .scale = 1.f / std::sqrt(static_cast<float>(width)),
                         .segments = {&whole, 1},
                         .out = narrow});
  // A 1x1 convolution and not Linear, which has no f32 residual in place of a gate.
  const void* in = n;
  const void* residual = x;
  ops->Conv({.kernel = project.get(),
             .in = {&in, 1},
             .in_height = size.height,
             .in_width = size.width,
             .out = {&x, 1},
             .out_height = size.height,
             .out_width = size.width,
             .residual = {&residual, 1},
             .wide = true});
  after.Run(ctx, seen, x, n, y);
}

WanHead WanHead::Load(WanLoader& loader, const std::string& name, int stage, int64_t inputs, int64_t outputs) {
  WanHead head;
  head.norm = loader.Gamma(name + ".norm_out", inputs);
  head.conv = WanConv::Load(loader, name + ".conv_out", stage, inputs, outputs);
  return head;
}

void WanHead::Run(const WanContext& ctx, int64_t seen, void* x, void* n, void* out) const {
  const int64_t inputs = conv.kernel->shape().inputs;
  ctx.ops->ChannelNorm(WideMat(ctx, x, conv.stage, inputs), norm->f32(), /*silu=*/true,
                       FrameMat(ctx, n, conv.stage, inputs));
  conv.Run(ctx, seen, n, out);
}

}  // namespace longtake
