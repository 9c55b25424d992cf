#include "engine/models/taehv/decoder.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/ops/arena.h"

namespace longtake {

// Frames run through the stages depth first: where a stage doubles time, its first new frame runs through all later
// stages before the second one does, so that only one frame of each stage is in memory at a time.
struct TaehvDecoder::Call {
  VaeContext ctx;
  const TaehvPlan& plan;
  std::byte* scratch;
  bool first;   // this is the video's first latent frame: only the last of its frames is emitted
  bool begins;  // the caches contain nothing yet
  SizedVideoDecoder::Emit emit;
};

class TaehvDecoder::Sized final : public SizedVideoDecoder {
 public:
  Sized(const TaehvDecoder& decoder, TaehvPlan plan) : decoder_(decoder), plan_(std::move(plan)) {}

  size_t cache_bytes() const override { return plan_.cache_bytes; }
  size_t scratch_bytes() const override { return plan_.scratch_bytes; }
  void Decode(const float* latents, int64_t frames, int64_t t, VideoStream* stream, void* scratch,
              Emit emit) const override {
    const Call call{.ctx = {decoder_.ops_, &plan_, static_cast<std::byte*>(stream->caches)},
                    .plan = plan_,
                    .scratch = static_cast<std::byte*>(scratch),
                    .first = stream->frames == 0,
                    .begins = stream->frames == stream->first,
                    .emit = emit};
    decoder_.Decode(call, latents, frames, t);
    ++stream->frames;
  }
  bool Drain(VideoStream* /*stream*/, void* /*scratch*/, Emit /*emit*/) const override { return false; }

 private:
  const TaehvDecoder& decoder_;
  const TaehvPlan plan_;
};

TaehvDecoder::TaehvDecoder(const TaehvShape& shape, TaehvLoader& loader, Ops* ops)
    : shape_(shape), geometry_(shape.geometry()), ops_(ops), zeros_(shape.channels, 0.f), ones_(shape.channels, 1.f) {
  first_ = loader.Conv(absl::StrCat("decoder.", kTaehvFirstLayer), shape_.channels, shape_.widths[0]);
  for (int i = 0; i < kTaehvStages; ++i) {
    const int64_t width = shape_.widths[i];
    for (int b = 0; b < kTaehvBlocks; ++b) {
      const std::string name = absl::StrCat("decoder.", TaehvLayer(i) + b, ".conv.");
      Block& block = stages_[i].blocks[b];
      block.conv[0] = loader.Memory(name + "0", width);
      block.conv[1] = loader.Conv(name + "2", width, width);
      block.conv[2] = loader.Conv(name + "4", width, width);
      block.past = loader.Keep({.stage = i, .channels = width, .frames = 1});
    }
    stages_[i].step = loader.Step(shape_, i);
  }
  last_ = loader.Pixels(shape_);
  kept_ = loader.kept();
  weight_bytes_ = loader.packed_bytes();
}

std::unique_ptr<SizedVideoDecoder> TaehvDecoder::ForLatents(int height, int width) const {
  return std::make_unique<Sized>(*this, Plan(height, width));
}

// At 832x480 in bf16 (taew2_1) the caches take 67 MB and scratch takes 78 MB.
TaehvPlan TaehvDecoder::Plan(int latent_height, int latent_width) const {
  TaehvPlan plan;
  const size_t element = SizeOf(ops_->activation_type());
  size_t work = 0, two = 0;
  FrameSize size = {latent_height, latent_width};
  for (int i = 0; i <= kTaehvStages; ++i) {
    plan.stages.push_back(size);
    if (i < kTaehvStages) size = {size.height * shape_.space[i], size.width * shape_.space[i]};
    const size_t frame = Aligned(plan.stages[i].pixels() * shape_.widths[i] * element);
    if (i < kTaehvStages) {
      plan.x[i] = plan.scratch_bytes;
      plan.scratch_bytes += frame;
      two = std::max(two, frame);
    } else {
      work = frame + Aligned(plan.stages[i].pixels() * shape_.pixel_channels() * sizeof(float));
      plan.pixels = frame;
    }
  }
  plan.work = plan.scratch_bytes;
  plan.pixels += plan.work;
  plan.second = two;
  work = std::max({work, 2 * two, Aligned(plan.stages[0].pixels() * shape_.channels * element)});
  plan.scratch_bytes += work;
  PlanKept(kept_, element, &plan);
  return plan;
}

void TaehvDecoder::Conv(const PackedKernel& kernel, const FrameSize& size, std::span<const ConstMat> in, const Mat& out,
                        std::span<const ConstMat> residual, Activation activation) const {
  ConvArgs args = Conv3x3(kernel, size, in, size, out);
  args.residual = residual;
  args.activation = activation;
  ops_->convolution().Conv(args);
}

void TaehvDecoder::Decode(const Call& call, const float* latents, int64_t frames, int64_t t) const {
  const Mat latent = ActFrame(call.ctx, call.scratch + call.plan.work, 0, shape_.channels);
  const Mat x = ActFrame(call.ctx, call.scratch + call.plan.x[0], 0, shape_.widths[0]);
  ops_->latents().LatentsToFrame(
      {.latents = latents, .frames = frames, .t = t, .mean = zeros_, .std = ones_, .frame = latent});
  ops_->elementwise().Activate(latent, Activation::kSoftClamp, latent);
  const ConstMat in = latent;
  Conv(*first_, call.plan.stages[0], {&in, 1}, x, {}, Activation::kRelu);
  RunStage(call, 0, 0);
}

void TaehvDecoder::RunBlock(const Call& call, int i, const Block& block, bool has_past) const {
  const int64_t width = shape_.widths[i];
  std::byte* const work = call.scratch + call.plan.work;
  const Mat x = ActFrame(call.ctx, call.scratch + call.plan.x[i], i, width);
  const Mat first = ActFrame(call.ctx, work, i, width), second = ActFrame(call.ctx, work + call.plan.second, i, width);
  const auto conv = [&](int number, std::span<const ConstMat> in, const Mat& out, std::span<const ConstMat> residual) {
    Conv(*block.conv[number], call.plan.stages[i], in, out, residual, Activation::kRelu);
  };
  const std::array<ConstMat, 2> both = {
      x, ActFrame(call.ctx, has_past ? KeptFrame(call.ctx, block.past, 0) : nullptr, i, width)};
  const ConstMat old = x, hidden = first, next = second;
  conv(0, both, first, {});
  Keep(call.ctx, block.past, 0, x);
  conv(1, {&hidden, 1}, second, {});
  conv(2, {&next, 1}, x, {&old, 1});
}

void TaehvDecoder::RunStage(const Call& call, int i, int index) const {
  const Stage& stage = stages_[i];
  for (const Block& block : stage.blocks) RunBlock(call, i, block, !call.begins || index > 0);

  const bool last = i + 1 == kTaehvStages;
  const FrameSize from = call.plan.stages[i], to = call.plan.stages[i + 1];
  const ConstMat x = ActFrame(call.ctx, call.scratch + call.plan.x[i], i, shape_.widths[i]);
  const Mat out =
      ActFrame(call.ctx, call.scratch + (last ? call.plan.work : call.plan.x[i + 1]), i + 1, shape_.widths[i + 1]);
  for (int k = 0; k < shape_.times[i]; ++k) {
    const int made = index * shape_.times[i] + k;
    // Nothing after the last stage's blocks remembers a frame.
    if (last && call.first && made + 1 < shape_.frames()) continue;
    ConvArgs args = Conv3x3(*stage.step[k], from, {&x, 1}, to, out);
    args.upsample = shape_.space[i];
    args.activation = last ? Activation::kRelu : Activation::kNone;
    ops_->convolution().Conv(args);
    if (last) {
      EmitPixels(call);
    } else {
      RunStage(call, i + 1, made);
    }
  }
}

void TaehvDecoder::EmitPixels(const Call& call) const {
  const FrameSize size = call.plan.stages[kTaehvStages];
  const ConstMat x = ActFrame(call.ctx, call.scratch + call.plan.work, kTaehvStages, shape_.widths.back());
  const Mat pixels = FloatFrame(call.ctx, call.scratch + call.plan.pixels, kTaehvStages, shape_.pixel_channels());
  Conv(*last_, size, {&x, 1}, pixels, {}, Activation::kNone);
  call.emit({.pixels = pixels, .rows = size.height, .columns = size.width, .patch = shape_.patch});
}

}  // namespace longtake
