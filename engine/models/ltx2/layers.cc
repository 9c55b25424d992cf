#include "engine/models/ltx2/layers.h"

#include <algorithm>
#include <array>
#include <utility>

namespace longtake {

void NormSilu(const Ltx2Context& ctx, ConstMat x, Mat y) {
  ctx.ops->norm().ChannelNorm({.x = x, .eps = 1e-8f, .silu = true, .y = y});
}

Ltx2Conv Ltx2Conv::Load(Ltx2Loader& loader, const std::string& name, int stage, int64_t inputs, int64_t outputs,
                        int64_t used) {
  return {.kernel = loader.Kernel(name, inputs, outputs, used == 0 ? outputs : used),
          .inputs = inputs,
          .outputs = used == 0 ? outputs : used,
          .number = loader.NextConv(),
          .ring = loader.Ring({.stage = stage, .channels = inputs}),
          .stage = stage};
}

Mat Ltx2Conv::Input(const Ltx2Context& ctx, std::byte* spare) const {
  return ActFrame(ctx, RingFrame(ctx, ring, seen(ctx), spare), stage, inputs);
}

int64_t Ltx2Conv::Push(const Ltx2Context& ctx, ConstMat in, Mat out, ConstMat residual) const {
  const int64_t before = ctx.seen[number]++;
  const bool gives = ctx.causal || before > 0;
  if (gives) Run(ctx, before, in, out, residual);
  return !gives ? kNone : ctx.causal ? before : before - 1;
}

int64_t Ltx2Conv::Finish(const Ltx2Context& ctx, Mat out, ConstMat residual) const {
  const int64_t last = seen(ctx) - 1;
  Run(ctx, seen(ctx), ActFrame(ctx, RingFrame(ctx, ring, last, nullptr), stage, inputs), out, residual);
  return last;
}

// Convolves the last two of the `taken` frames and `next`. The clip's first frame stands for what came before it.
void Ltx2Conv::Run(const Ltx2Context& ctx, int64_t taken, ConstMat next, Mat out, ConstMat residual) const {
  const FrameSize size = ctx.plan->stages[stage];
  std::array<ConstMat, 3> frames = {next, next, next};
  if (taken > 0) {
    frames[0].data = RingFrame(ctx, ring, std::max<int64_t>(taken - 2, 0), nullptr);
    frames[1].data = RingFrame(ctx, ring, taken - 1, nullptr);
  }
  ConvArgs args = Conv3x3(*kernel, size, frames, size, out);
  args.border = ctx.border;
  args.residual = {&residual, residual.data == nullptr ? size_t{0} : size_t{1}};
  ctx.ops->convolution().Conv(args);
}

Ltx2Block Ltx2Block::Load(Ltx2Loader& loader, const std::string& name, int stage, int64_t width, bool causal) {
  Ltx2Block block;
  block.width = width;
  block.conv1 = Ltx2Conv::Load(loader, name + ".conv1", stage, width, width);
  block.conv2 = Ltx2Conv::Load(loader, name + ".conv2", stage, width, width);
  if (!causal) block.waiting = loader.Keep({.stage = stage, .channels = width, .frames = 2, .wide = true});
  return block;
}

bool Ltx2Block::Push(const Ltx2Context& ctx, Ltx2Frames* frames) const {
  const int stage = conv1.stage;
  const Mat x = FloatFrame(ctx, frames->x, stage, width), hidden = FloatFrame(ctx, frames->spare, stage, width);
  const int64_t taken = conv1.seen(ctx);
  const Mat in1 = conv1.Input(ctx, frames->act);
  NormSilu(ctx, x, in1);
  const bool first = conv1.Push(ctx, in1, hidden) != Ltx2Conv::kNone;
  if (ctx.causal) {
    const Mat in2 = conv2.Input(ctx, frames->act);
    NormSilu(ctx, hidden, in2);
    conv2.Push(ctx, in2, x, x);
    return true;
  }
  const bool gives = first && Second(ctx, frames);
  // Replaces the frame that has just been added.
  Keep(ctx, waiting, taken % 2, x);
  return gives;
}

bool Ltx2Block::FinishFirst(const Ltx2Context& ctx, Ltx2Frames* frames) const {
  conv1.Finish(ctx, FloatFrame(ctx, frames->spare, conv1.stage, width));
  return Second(ctx, frames);
}

bool Ltx2Block::FinishSecond(const Ltx2Context& ctx, Ltx2Frames* frames) const {
  conv2.Finish(ctx, FloatFrame(ctx, frames->x, conv1.stage, width), Waiting(ctx));
  return true;
}

bool Ltx2Block::Second(const Ltx2Context& ctx, Ltx2Frames* frames) const {
  const int stage = conv2.stage;
  const Mat hidden = FloatFrame(ctx, frames->spare, stage, width), in = conv2.Input(ctx, frames->act);
  NormSilu(ctx, hidden, in);
  const bool gives = conv2.Push(ctx, in, hidden, Waiting(ctx)) != Ltx2Conv::kNone;
  std::swap(frames->x, frames->spare);
  return gives;
}

ConstMat Ltx2Block::Waiting(const Ltx2Context& ctx) const {
  // conv2 has taken one frame more than it has given.
  std::byte* const kept = KeptFrame(ctx, waiting, std::max<int64_t>(conv2.seen(ctx) - 1, 0) % 2);
  return FloatFrame(ctx, kept, conv2.stage, width);
}

}  // namespace longtake
