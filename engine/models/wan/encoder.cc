#include "engine/models/wan/encoder.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"

namespace longtake {

class WanEncoder::Sized final : public SizedVideoEncoder {
 public:
  Sized(const WanEncoder& encoder, WanPlan plan) : encoder_(encoder), plan_(std::move(plan)) {}

  size_t cache_bytes() const override { return plan_.cache_bytes; }
  size_t scratch_bytes() const override { return plan_.scratch_bytes; }
  int latent_height() const override { return plan_.stages.back().height; }
  int latent_width() const override { return plan_.stages.back().width; }
  bool Encode(const float* pixels, VideoStream* stream, void* scratch, int64_t frames, int64_t t,
              float* latents) const override {
    return encoder_.Encode(plan_, pixels, stream, scratch, frames, t, latents);
  }

 private:
  const WanEncoder& encoder_;
  const WanPlan plan_;
};

WanEncoder::WanEncoder(const WanConfig& config, WanLoader& loader, Ops* ops)
    : config_(config), geometry_(config.geometry()), ops_(ops) {
  const int count = config_.stages();
  conv_in_ = WanConv::Load(loader, "encoder.conv_in", 0, config_.pixel_channels(), config_.base_dim);
  int64_t inputs = config_.base_dim;
  int layer = 0;  // the file numbers residual blocks and halvings consecutively
  const auto next = [&layer] { return absl::StrCat("encoder.down_blocks.", layer++); };
  for (int i = 0; i < count; ++i) {
    Stage stage;
    stage.width = config_.base_dim * config_.dim_mult[i];
    for (int j = 0; j < config_.res_blocks; ++j) {
      stage.blocks.push_back(WanResidual::Load(loader, next(), i, inputs, stage.width));
      inputs = stage.width;
    }
    if (i + 1 < count) {
      const std::string down = next();
      const int64_t width = stage.width;
      stage.space = loader.Kernel(down + ".resample.1", {.outputs = width, .inputs = width, .kh = 3, .kw = 3},
                                  /*spatial=*/true);
      if (config_.temporal_downsample[i]) {
        stage.time = loader.Kernel(down + ".time_conv", {.outputs = width, .inputs = width, .kt = 3});
        stage.time_ring = loader.Ring({.stage = i + 1, .channels = width, .alone = true});
      }
    }
    stages_.push_back(std::move(stage));
  }
  middle_ = WanMiddle::Load(loader, "encoder.mid_block", count - 1, inputs);
  const int64_t z = config_.z_dim;
  head_ = WanHead::Load(loader, "encoder", count - 1, inputs, 2 * z);
  quant_ = loader.KernelPart("quant_conv", {.outputs = 2 * z, .inputs = 2 * z}, 0, z);
  kept_ = loader.kept();
  weight_bytes_ = loader.packed_bytes();
}

absl::StatusOr<std::unique_ptr<SizedVideoEncoder>> WanEncoder::ForFrames(int height, int width) const {
  ASSIGN_OR_RETURN(WanPlan plan, Plan(height, width));
  return std::make_unique<Sized>(*this, std::move(plan));
}

// At 832x480 in bf16 (Wan 2.1) the caches take 1.32 GB and scratch takes 383 MB.
absl::StatusOr<WanPlan> WanEncoder::Plan(int height, int width) const {
  if (height % config_.patch != 0 || width % config_.patch != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("frames of ", width, "x", height, " are no multiple of patch_size ", config_.patch));
  }
  WanPlan plan;
  const size_t element = SizeOf(ops_->activation_type());
  const int64_t z = config_.z_dim;
  FrameSize size{height / config_.patch, width / config_.patch};
  size_t act = 0, f32 = 0;  // bytes of the largest frame, in both types
  for (size_t i = 0; i < stages_.size(); ++i) {
    if (size.height < 1 || size.width < 1) {
      return absl::InvalidArgumentError(absl::StrCat("frames of ", width, "x", height, " are smaller than one latent"));
    }
    plan.stages.push_back(size);
    int64_t channels = std::max(stages_[i].blocks[0].inputs, stages_[i].width);
    if (i == 0) channels = std::max(channels, config_.pixel_channels());
    if (i > 0) channels = std::max(channels, stages_[i - 1].width);
    if (i + 1 == stages_.size()) channels = std::max(channels, 2 * z);
    act = std::max(act, Aligned(size.pixels() * channels * element));
    f32 = std::max(f32, Aligned(size.pixels() * channels * sizeof(float)));
    size = {size.height / 2, size.width / 2};
  }
  // Only one frame is encoded at a time, so all stages share x, n and y.
  const size_t middle = Aligned(plan.stages.back().pixels() * middle_.width * element);
  const size_t work = std::max(act + f32, WanMiddle::kWorkFrames * middle);
  plan.n.assign(stages_.size(), 0);
  plan.y.assign(stages_.size(), act);
  plan.x.assign(stages_.size(), work);
  plan.scratch_bytes = work + f32;
  PlanKept(kept_, element, &plan);
  return plan;
}

bool WanEncoder::Encode(const WanPlan& plan, const float* pixels, VideoStream* stream, void* scratch, int64_t frames,
                        int64_t t, float* latents) const {
  const VaeContext ctx{ops_, &plan, static_cast<std::byte*>(stream->caches)};
  std::byte* base = static_cast<std::byte*>(scratch);
  std::byte* x = base + plan.x[0];
  std::byte* n = base + plan.n[0];
  std::byte* y = base + plan.y[0];
  int64_t seen = stream->frames++;

  const Mat frame = conv_in_.Input(ctx, seen, n);
  ops_->latents().PlanarToFrame({.planar = pixels,
                                 .height = plan.stages[0].height,
                                 .width = plan.stages[0].width,
                                 .patch = config_.patch,
                                 .frame = frame});
  conv_in_.Run(ctx, seen, frame, FloatFrame(ctx, x, 0, config_.base_dim));
  for (size_t i = 0; i < stages_.size(); ++i) {
    const Stage& stage = stages_[i];
    for (const WanResidual& block : stage.blocks) block.Run(ctx, seen, x, n, y);
    if (stage.space == nullptr) break;
    const int next = static_cast<int>(i) + 1;
    const Mat whole = ActFrame(ctx, n, next - 1, stage.width);
    ops_->elementwise().Convert(FloatFrame(ctx, x, next - 1, stage.width), whole);
    const Mat next_x = FloatFrame(ctx, x, next, stage.width);
    if (stage.time == nullptr) {
      HalveSpace(ctx, i, whole, next_x);
      continue;
    }
    // Frame 0 is copied. Each later even frame is convolved with the two frames before it. Odd frames only go into the
    // ring.
    const Mat halved = ActFrame(ctx, RingFrame(ctx, stage.time_ring, seen, y), next, stage.width);
    HalveSpace(ctx, i, whole, halved);
    const bool completes = seen % 2 == 0;
    if (seen == 0) {
      ops_->elementwise().Convert(halved, next_x);
    } else if (completes) {
      RunTemporal(ctx, *stage.time, stage.time_ring, next, seen, seen, halved, next_x);
    }
    if (!completes) return false;
    seen /= 2;
  }
  const int last = static_cast<int>(stages_.size()) - 1;
  const int64_t z = config_.z_dim;
  middle_.Run(ctx, seen, x, base);
  const Mat moments = FloatFrame(ctx, y, last, 2 * z), rounded = ActFrame(ctx, n, last, 2 * z);
  const Mat means = FloatFrame(ctx, x, last, z);
  head_.Run(ctx, seen, x, n, moments);
  ops_->elementwise().Convert(moments, rounded);
  ops_->dense().Linear({.kernel = *quant_, .x = rounded, .y = means});
  ops_->latents().FrameToLatents(
      {.frame = means, .mean = config_.mean, .std = config_.std, .frames = frames, .t = t, .latents = latents});
  return true;
}

void WanEncoder::HalveSpace(const VaeContext& ctx, size_t i, ConstMat in, Mat out) const {
  ops_->convolution().Conv({.kernel = *stages_[i].space,
                            .in = {&in, 1},
                            .in_height = ctx.plan->stages[i].height,
                            .in_width = ctx.plan->stages[i].width,
                            .out = {&out, 1},
                            .out_height = ctx.plan->stages[i + 1].height,
                            .out_width = ctx.plan->stages[i + 1].width,
                            .stride = 2});  // pads with zeros on the right and below only
}

}  // namespace longtake
