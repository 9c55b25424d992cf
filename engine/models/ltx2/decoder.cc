#include "engine/models/ltx2/decoder.h"

#include <algorithm>
#include <array>
#include <utility>

#include "absl/strings/str_cat.h"

namespace longtake {

// Frames run through the stages depth first: where a step doubles time, its first new frame runs through all later
// stages before the second one does. Each stage then has at most two frames in memory at a time, whatever the clip's
// length.
struct Ltx2Decoder::Call {
  Ltx2Context ctx;
  const Ltx2Plan& plan;
  std::byte* scratch;
  bool begins;  // the caches begin with the video's first latent frame
  FrameCounts::At at;
  SizedVideoDecoder::Emit emit;
};

class Ltx2Decoder::Sized final : public SizedVideoDecoder {
 public:
  Sized(const Ltx2Decoder& decoder, Ltx2Plan plan) : decoder_(decoder), plan_(std::move(plan)) {}

  size_t cache_bytes() const override { return plan_.cache_bytes; }
  size_t scratch_bytes() const override { return plan_.scratch_bytes; }
  void Decode(const float* latents, int64_t frames, int64_t t, VideoStream* stream, void* scratch,
              Emit emit) const override {
    Call call = Begin(*stream, scratch, emit);
    call.ctx.seen = call.at.seen.data();
    decoder_.Decode(call, latents, frames, t);
    ++stream->frames;
  }
  bool Drain(VideoStream* stream, void* scratch, Emit emit) const override {
    const int64_t steps = stream->frames == stream->first ? 0 : decoder_.drain_steps();
    if (stream->drained >= steps) return false;
    Call call = Begin(*stream, scratch, emit);
    call.ctx.seen = call.at.seen.data();
    decoder_.Finish(call, static_cast<int>(stream->drained++));
    return stream->drained < steps;
  }

 private:
  Call Begin(const VideoStream& stream, void* scratch, Emit emit) const {
    const Ltx2Config& config = decoder_.config_;
    return {.ctx = {{decoder_.ops_, &plan_, static_cast<std::byte*>(stream.caches)},
                    config.decoder.border,
                    config.causal_decoder,
                    /*seen=*/nullptr},
            .plan = plan_,
            .scratch = static_cast<std::byte*>(scratch),
            .begins = stream.first == 0,
            .at = decoder_.counts_.Count(stream.frames - stream.first, stream.drained, stream.first == 0),
            .emit = emit};
  }

  const Ltx2Decoder& decoder_;
  const Ltx2Plan plan_;
};

Ltx2Decoder::Ltx2Decoder(const Ltx2Config& config, std::vector<float> mean, std::vector<float> std, Ltx2Loader& loader,
                         Ops* ops)
    : config_(config),
      geometry_(config.geometry()),
      counts_(config.decoder, config.causal_decoder),
      mean_(std::move(mean)),
      std_(std::move(std)),
      ops_(ops) {
  const Ltx2Half& half = config_.decoder;
  const int count = half.stages();
  conv_in_ = Ltx2Conv::Load(loader, "decoder.conv_in", 0, config_.latent_channels, half.widths[0]);
  for (int i = 0; i < count; ++i) {
    Stage stage;
    const int64_t width = half.widths[i];
    const std::string name = i == 0 ? "decoder.mid_block" : absl::StrCat("decoder.up_blocks.", i - 1);
    for (int j = 0; j < half.blocks[i]; ++j) {
      stage.blocks.push_back(
          Ltx2Block::Load(loader, absl::StrCat(name, ".resnets.", j), i, width, config_.causal_decoder));
    }
    if (i + 1 < count) {
      stage.end = Ltx2Conv::Load(loader, absl::StrCat("decoder.up_blocks.", i, ".upsamplers.0.conv"), i, width,
                                 half.steps[i].conv_outputs);
      if (half.steps[i].residual && !config_.causal_decoder) {
        stage.waiting = loader.Keep({.stage = i, .channels = width, .frames = 1, .wide = true});
      }
    } else {
      stage.end = Ltx2Conv::Load(loader, "decoder.conv_out", i, width, config_.pixel_channels());
    }
    stages_.push_back(std::move(stage));
  }
  kept_ = loader.kept();
  weight_bytes_ = loader.packed_bytes();
}

std::unique_ptr<SizedVideoDecoder> Ltx2Decoder::ForLatents(int height, int width) const {
  return std::make_unique<Sized>(*this, Plan(height, width));
}

Ltx2Plan Ltx2Decoder::Plan(int latent_height, int latent_width) const {
  Ltx2Plan plan;
  plan.looks_ahead = !config_.causal_decoder;
  const Ltx2Half& half = config_.decoder;
  const size_t element = SizeOf(ops_->activation_type());
  size_t wide = 0;  // bytes of the largest frame
  FrameSize size{latent_height, latent_width};
  for (int i = 0; i < half.stages(); ++i) {
    if (i > 0) size = {size.height * half.steps[i - 1].factor.h, size.width * half.steps[i - 1].factor.w};
    plan.stages.push_back(size);
    const size_t x = Aligned(size.pixels() * half.widths[i] * sizeof(float));
    Ltx2Plan::Stage stage;
    for (size_t* offset : {&stage.x, &stage.spare, &stage.second}) {
      if (offset == &stage.second && (i == 0 || half.steps[i - 1].factor.t == 1)) continue;
      *offset = plan.scratch_bytes;
      plan.scratch_bytes += x;
    }
    plan.scratch.push_back(stage);
    wide = std::max(wide, Aligned(size.pixels() * stages_[i].end.outputs * sizeof(float)));
  }
  plan.wide = plan.scratch_bytes;
  plan.scratch_bytes += wide;
  PlanKept(kept_, element, &plan);
  return plan;
}

Ltx2Frames Ltx2Decoder::Frames(const Call& call, size_t i) const {
  const Ltx2Plan& plan = call.plan;
  return {.x = call.scratch + plan.scratch[i].x,
          .spare = call.scratch + plan.scratch[i].spare,
          .act = nullptr};  // a decoder has caches
}

void Ltx2Decoder::Decode(Call& call, const float* latents, int64_t frames, int64_t t) const {
  const Ltx2Frames first = Frames(call, 0);
  const Mat latent = conv_in_.Input(call.ctx, first.act);
  ops_->latents().LatentsToFrame(
      {.latents = latents, .frames = frames, .t = t, .mean = mean_, .std = std_, .frame = latent});
  const Mat x = FloatFrame(call.ctx, first.x, 0, config_.decoder.widths[0]);
  if (conv_in_.Push(call.ctx, latent, x) != Ltx2Conv::kNone) RunStage(call, 0, 0, first);
}

void Ltx2Decoder::Finish(Call& call, int conv) const {
  if (conv == conv_in_.number) {
    const Ltx2Frames first = Frames(call, 0);
    conv_in_.Finish(call.ctx, FloatFrame(call.ctx, first.x, 0, config_.decoder.widths[0]));
    return RunStage(call, 0, 0, first);
  }
  size_t i = 0;
  while (conv > stages_[i].end.number) ++i;
  const Stage& stage = stages_[i];
  if (conv == stage.end.number) {
    const int64_t width = stage.end.outputs;
    const Mat wide = FloatFrame(call.ctx, call.scratch + call.plan.wide, static_cast<int>(i), width);
    const int64_t given = stage.end.Finish(call.ctx, wide);
    return i + 1 < stages_.size() ? RunStep(call, i, given, {}) : EmitPixels(call);
  }
  Ltx2Frames frames = Frames(call, i);
  for (size_t b = 0; b < stage.blocks.size(); ++b) {
    const Ltx2Block& block = stage.blocks[b];
    if (conv > block.conv2.number) continue;
    const bool gives =
        conv == block.conv1.number ? block.FinishFirst(call.ctx, &frames) : block.FinishSecond(call.ctx, &frames);
    if (gives) RunStage(call, i, b + 1, frames);
    return;
  }
}

void Ltx2Decoder::RunStage(Call& call, size_t i, size_t block, Ltx2Frames frames) const {
  const Stage& stage = stages_[i];
  const int index = static_cast<int>(i);
  const int64_t width = config_.decoder.widths[i];
  for (size_t b = block; b < stage.blocks.size(); ++b) {
    if (!stage.blocks[b].Push(call.ctx, &frames)) return;
  }
  const bool last = i + 1 == stages_.size();
  const Mat x = FloatFrame(call.ctx, frames.x, index, width), in = stage.end.Input(call.ctx, frames.act);
  const Mat wide = FloatFrame(call.ctx, call.scratch + call.plan.wide, index, stage.end.outputs);
  if (last) {
    NormSilu(call.ctx, x, in);
    if (stage.end.Push(call.ctx, in, wide) != Ltx2Conv::kNone) EmitPixels(call);
    return;
  }
  ops_->elementwise().Convert(x, in);
  const int64_t given = stage.end.Push(call.ctx, in, wide);
  if (given != Ltx2Conv::kNone) return RunStep(call, i, given, x);
  if (stage.waiting >= 0) Keep(call.ctx, stage.waiting, 0, x);
}

void Ltx2Decoder::RunStep(Call& call, size_t i, int64_t given, ConstMat x) const {
  const Stage& stage = stages_[i];
  const Ltx2Half::Step& step = config_.decoder.steps[i];
  const Ltx2Plan& plan = call.plan;
  const int index = static_cast<int>(i), times = step.factor.t;
  const int64_t width = config_.decoder.widths[i], next_width = config_.decoder.widths[i + 1];
  ConstMat residual;
  if (step.residual)
    residual = stage.waiting >= 0 ? FloatFrame(call.ctx, KeptFrame(call.ctx, stage.waiting, 0), index, width) : x;

  // Of the clip's first frame only the last of the new ones is kept.
  const bool drops = call.begins && given == 0;
  const Ltx2Frames frames = Frames(call, i + 1);
  std::byte* const targets[2] = {frames.x, call.scratch + plan.scratch[i + 1].second};
  std::array<Mat, 2> out;
  for (int k = 0; k < times; ++k) {
    std::byte* const target = drops && k + 1 < times ? nullptr : targets[k];
    out[k] = FloatFrame(call.ctx, target, index + 1, next_width);
  }
  ops_->shuffle().DepthToSpace({.in = FloatFrame(call.ctx, call.scratch + plan.wide, index, stage.end.outputs),
                                .height = plan.stages[i].height,
                                .width = plan.stages[i].width,
                                .factor = step.factor,
                                .residual = residual,
                                .out = {out.data(), static_cast<size_t>(times)}});
  if (stage.waiting >= 0 && x.data != nullptr) Keep(call.ctx, stage.waiting, 0, x);
  for (int k = 0; k < times; ++k) {
    if (out[k].data == nullptr) continue;
    Ltx2Frames next = frames;
    next.x = targets[k];
    RunStage(call, i + 1, 0, next);
  }
}

void Ltx2Decoder::EmitPixels(Call& call) const {
  const int last = static_cast<int>(stages_.size()) - 1;
  const FrameSize size = call.plan.stages[last];
  call.emit({.pixels = FloatFrame(call.ctx, call.scratch + call.plan.wide, last, config_.pixel_channels()),
             .rows = size.height,
             .columns = size.width,
             .patch = config_.patch});
}

}  // namespace longtake
