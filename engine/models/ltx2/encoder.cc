#include "engine/models/ltx2/encoder.h"

#include <algorithm>
#include <array>
#include <utility>

#include "absl/strings/str_cat.h"

namespace longtake {

class Ltx2Encoder::Sized final : public SizedVideoEncoder {
 public:
  Sized(const Ltx2Encoder& encoder, Ltx2Plan plan) : encoder_(encoder), plan_(std::move(plan)) {}

  size_t cache_bytes() const override { return plan_.cache_bytes; }
  size_t scratch_bytes() const override { return plan_.scratch_bytes; }
  int latent_height() const override { return plan_.stages.back().height; }
  int latent_width() const override { return plan_.stages.back().width; }
  bool Encode(const float* pixels, VideoStream* stream, void* scratch, int64_t frames, int64_t t,
              float* latents) const override {
    return encoder_.Encode(plan_, pixels, stream, scratch, frames, t, latents);
  }

 private:
  const Ltx2Encoder& encoder_;
  const Ltx2Plan plan_;
};

Ltx2Encoder::Ltx2Encoder(const Ltx2Config& config, std::vector<float> mean, std::vector<float> std, Ltx2Loader& loader,
                         Ops* ops)
    : config_(config), geometry_(config.geometry()), mean_(std::move(mean)), std_(std::move(std)), ops_(ops) {
  const Ltx2Half& half = config_.encoder;
  const int count = half.stages();
  conv_in_ = Ltx2Conv::Load(loader, "encoder.conv_in", 0, config_.pixel_channels(), half.widths[0]);
  for (int i = 0; i < count; ++i) {
    Stage stage;
    const int64_t width = half.widths[i];
    const std::string name = i + 1 == count ? "encoder.mid_block" : absl::StrCat("encoder.down_blocks.", i);
    for (int j = 0; j < half.blocks[i]; ++j) {
      stage.blocks.push_back(Ltx2Block::Load(loader, absl::StrCat(name, ".resnets.", j), i, width, /*causal=*/true));
    }
    if (i + 1 < count) {
      const int64_t outputs = half.steps[i].conv_outputs;
      stage.end = Ltx2Conv::Load(loader, name + ".downsamplers.0.conv", i, width, outputs);
      if (half.steps[i].factor.t > 1) {
        stage.waiting_x = loader.Keep({.stage = i, .channels = width, .frames = 1, .wide = true});
        stage.waiting_out = loader.Keep({.stage = i, .channels = outputs, .frames = 1, .wide = true});
      }
    } else {
      // The last output is a logarithm of a variance, for all channels.
      const int64_t z = config_.latent_channels;
      stage.end = Ltx2Conv::Load(loader, "encoder.conv_out", i, width, z + 1, /*used=*/z);
    }
    stages_.push_back(std::move(stage));
  }
  kept_ = loader.kept();
  weight_bytes_ = loader.packed_bytes();
}

absl::StatusOr<std::unique_ptr<SizedVideoEncoder>> Ltx2Encoder::ForFrames(int height, int width) const {
  const int unit = config_.patch * config_.encoder.spatial_factor();
  if (height < unit || width < unit || height % unit != 0 || width % unit != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("frames of ", width, "x", height, " are no multiple of a latent's ", unit, "x", unit));
  }
  return std::make_unique<Sized>(*this, Plan({height / config_.patch, width / config_.patch}));
}

// Only one frame is encoded at a time. A step reads its stage's x and writes the next one's, so stages use two pairs of
// frames in turn.
Ltx2Plan Ltx2Encoder::Plan(FrameSize size) const {
  Ltx2Plan plan;
  const Ltx2Half& half = config_.encoder;
  const size_t element = SizeOf(ops_->activation_type());
  size_t act = 0, wide = 0, x[2] = {0, 0};  // bytes of the largest frame of each
  for (int i = 0; i < half.stages(); ++i) {
    if (i > 0) size = {size.height / half.steps[i - 1].factor.h, size.width / half.steps[i - 1].factor.w};
    plan.stages.push_back(size);
    const int64_t inputs = i == 0 ? std::max(half.widths[0], config_.pixel_channels()) : half.widths[i];
    act = std::max(act, Aligned(size.pixels() * inputs * element));
    wide = std::max(wide, Aligned(size.pixels() * stages_[i].end.outputs * sizeof(float)));
    x[i % 2] = std::max(x[i % 2], Aligned(size.pixels() * half.widths[i] * sizeof(float)));
  }
  plan.act = 0;
  plan.wide = act;
  const size_t first[2] = {act + wide, act + wide + x[0]};
  // `spare` holds what the first convolution of a block gives; x[0] is the largest of both, and so serves all stages.
  const size_t spare = first[1] + x[1];
  plan.scratch_bytes = spare + std::max(x[0], x[1]);
  for (int i = 0; i < half.stages(); ++i) plan.scratch.push_back({.x = first[i % 2], .spare = spare});
  PlanKept(kept_, element, &plan);
  return plan;
}

bool Ltx2Encoder::Encode(const Ltx2Plan& plan, const float* pixels, VideoStream* stream, void* scratch, int64_t frames,
                         int64_t t, float* latents) const {
  // Every stage has taken frames 0, ..., of which each step that halves time gives the even ones.
  std::array<int64_t, kMaxLtx2Convs> seen = {};
  int64_t number = stream->frames++;
  const Ltx2Context ctx{
      {ops_, &plan, static_cast<std::byte*>(stream->caches)}, config_.encoder.border, /*causal=*/true, seen.data()};
  std::byte* const base = static_cast<std::byte*>(scratch);
  seen[conv_in_.number] = number;
  const Mat frame = conv_in_.Input(ctx, base + plan.act);
  ops_->latents().PlanarToFrame({.planar = pixels,
                                 .height = plan.stages[0].height,
                                 .width = plan.stages[0].width,
                                 .patch = config_.patch,
                                 .frame = frame});
  conv_in_.Push(ctx, frame, FloatFrame(ctx, base + plan.scratch[0].x, 0, config_.encoder.widths[0]));
  for (size_t i = 0; i < stages_.size(); ++i) {
    const Stage& stage = stages_[i];
    Ltx2Frames at{.x = base + plan.scratch[i].x, .spare = base + plan.scratch[i].spare, .act = base + plan.act};
    for (const Ltx2Block& block : stage.blocks) {
      seen[block.conv1.number] = seen[block.conv2.number] = number;
      block.Push(ctx, &at);
    }
    seen[stage.end.number] = number;
    if (i + 1 == stages_.size()) break;
    if (!RunStep(ctx, plan, i, number, base)) return false;
    if (config_.encoder.steps[i].factor.t > 1) number /= 2;
  }
  const int last = static_cast<int>(stages_.size()) - 1;
  const int64_t width = config_.encoder.widths.back();
  const Mat x = FloatFrame(ctx, base + plan.scratch[last].x, last, width),
            in = stages_.back().end.Input(ctx, base + plan.act);
  const Mat means = FloatFrame(ctx, base + plan.wide, last, config_.latent_channels);
  NormSilu(ctx, x, in);
  stages_.back().end.Push(ctx, in, means);
  ops_->latents().FrameToLatents(
      {.frame = means, .mean = mean_, .std = std_, .frames = frames, .t = t, .latents = latents});
  return true;
}

bool Ltx2Encoder::RunStep(const Ltx2Context& ctx, const Ltx2Plan& plan, size_t i, int64_t number,
                          std::byte* scratch) const {
  const Stage& stage = stages_[i];
  const Ltx2Half& half = config_.encoder;
  const int index = static_cast<int>(i);
  const int64_t width = half.widths[i], outputs = stage.end.outputs;
  const ShuffleFactor factor = half.steps[i].factor;
  const Mat x = FloatFrame(ctx, scratch + plan.scratch[i].x, index, width);
  const Mat act = stage.end.Input(ctx, scratch + plan.act);
  const Mat out = FloatFrame(ctx, scratch + plan.wide, index, outputs);
  ops_->elementwise().Convert(x, act);
  stage.end.Push(ctx, act, out);

  // Frames are paired as (0, 0), (1, 2), (3, 4), ...: the first one stands in front of itself, and its convolution
  // gives the same for both.
  std::array<ConstMat, 2> in = {out, out}, residual = {x, x};
  if (factor.t > 1 && number % 2 == 1) {
    Keep(ctx, stage.waiting_x, 0, x);
    Keep(ctx, stage.waiting_out, 0, out);
    return false;
  }
  if (factor.t > 1 && number > 0) {
    in[0] = FloatFrame(ctx, KeptFrame(ctx, stage.waiting_out, 0), index, outputs);
    residual[0] = FloatFrame(ctx, KeptFrame(ctx, stage.waiting_x, 0), index, width);
  }
  const auto count = static_cast<size_t>(factor.t);
  ops_->shuffle().SpaceToDepth(
      {.in = {in.data(), count},
       .residual = {residual.data(), count},
       .height = plan.stages[i + 1].height,
       .width = plan.stages[i + 1].width,
       .factor = factor,
       .out = FloatFrame(ctx, scratch + plan.scratch[i + 1].x, index + 1, half.widths[i + 1])});
  return true;
}

}  // namespace longtake
