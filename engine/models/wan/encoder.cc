#include "engine/models/wan/encoder.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace longtake {

std::unique_ptr<WanEncoder> WanEncoder::Load(const WanConfig& config, WanLoader& loader, Ops* ops) {
  std::unique_ptr<WanEncoder> encoder(new WanEncoder(config, ops));
  encoder->Build(loader);
  encoder->rings_ = loader.rings();
  encoder->weight_bytes_ = loader.packed_bytes();
  return encoder;
}

void WanEncoder::Build(WanLoader& loader) {
  const int count = config_.stages();
  conv_in_ = WanConv::Load(loader, "encoder.conv_in", 0, config_.pixel_channels(), config_.base_dim);
  int64_t inputs = config_.base_dim;
  int layer = 0;  // the file numbers blocks and halvings through
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
        stage.time_ring = loader.Ring(i + 1, width);
      }
    }
    stages_.push_back(std::move(stage));
  }
  middle_ = WanMiddle::Load(loader, "encoder.mid_block", count - 1, inputs);
  const int64_t z = config_.z_dim;
  head_ = WanHead::Load(loader, "encoder", count - 1, inputs, 2 * z);
  quant_ = loader.KernelPart("quant_conv", {.outputs = 2 * z, .inputs = 2 * z}, 0, z);
}

// At 832x480 in bf16 (Wan 2.1): caches 1.14 GB, scratch 383 MB.
absl::StatusOr<WanPlan> WanEncoder::Plan(int height, int width) const {
  if (height % config_.patch != 0 || width % config_.patch != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("frames of ", width, "x", height, " are no multiple of patch_size ", config_.patch));
  }
  WanPlan plan;
  const size_t element = SizeOf(ops_->activation_type());
  const int64_t z = config_.z_dim;
  FrameSize size{height / config_.patch, width / config_.patch};
  size_t act = 0, wide = 0;  // bytes of the largest frame
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
    wide = std::max(wide, Aligned(size.pixels() * channels * sizeof(float)));
    size = {size.height / 2, size.width / 2};
  }
  // One frame is under way at a time, so all stages share x, n and y.
  const size_t middle = Aligned(plan.stages.back().pixels() * middle_.width * element);
  const size_t work = std::max(act + wide, WanMiddle::kWorkFrames * middle);
  plan.n.assign(stages_.size(), 0);
  plan.y.assign(stages_.size(), act);
  plan.x.assign(stages_.size(), work);
  plan.scratch_bytes = work + wide;
  PlanRings(rings_, element, &plan);
  return plan;
}

bool WanEncoder::Encode(const WanPlan& plan, const float* pixels, WanStream* stream, void* scratch, int64_t frames,
                        int64_t t, float* latents) const {
  const WanContext ctx{ops_, &plan, static_cast<std::byte*>(stream->caches)};
  std::byte* base = static_cast<std::byte*>(scratch);
  void* x = base + plan.x[0];
  void* n = base + plan.n[0];
  void* y = base + plan.y[0];
  int64_t seen = stream->frames++;

  ops_->PlanarToFrame(pixels, plan.stages[0].height, plan.stages[0].width, config_.patch,
                      FrameMat(ctx, n, 0, config_.pixel_channels()));
  conv_in_.Run(ctx, seen, n, x);
  for (size_t i = 0; i < stages_.size(); ++i) {
    const Stage& stage = stages_[i];
    for (const WanResidual& block : stage.blocks) block.Run(ctx, seen, x, n, y);
    if (stage.space == nullptr) break;
    const int next = static_cast<int>(i) + 1;
    ops_->Convert(WideMat(ctx, x, next - 1, stage.width), FrameMat(ctx, n, next - 1, stage.width));
    const void* in = n;
    void* out = stage.time == nullptr ? x : y;
    ops_->Conv({.kernel = stage.space.get(),
                .in = {&in, 1},
                .in_height = plan.stages[i].height,
                .in_width = plan.stages[i].width,
                .out = {&out, 1},
                .out_height = plan.stages[i + 1].height,
                .out_width = plan.stages[i + 1].width,
                .stride = 2,  // zeros right and below only
                .wide = stage.time == nullptr});
    if (stage.time == nullptr) continue;
    // Frame 0 passes; then frames 2, 4, ... each with the two before it. Frame 1 waits in the ring, and so on.
    const bool completes = seen % 2 == 0;
    if (seen == 0) {
      ops_->Convert(FrameMat(ctx, y, next, stage.width), WideMat(ctx, x, next, stage.width));
    } else if (completes) {
      RunTemporal(ctx, *stage.time, stage.time_ring, next, seen, y, x, /*wide=*/true);
    }
    Remember(ctx, stage.time_ring, seen, y);
    if (!completes) return false;
    seen /= 2;
  }
  const int last = static_cast<int>(stages_.size()) - 1;
  middle_.Run(ctx, seen, x, base);
  head_.Run(ctx, seen, x, n, y);
  const int64_t z = config_.z_dim;
  const Mat both = FrameMat(ctx, n, last, 2 * z), means = WideMat(ctx, x, last, z);
  ops_->Convert(WideMat(ctx, y, last, 2 * z), both);
  ops_->Linear(*quant_, both, {}, means);
  ops_->FrameToLatents(means, config_.mean, config_.std, frames, t, latents);
  return true;
}

}  // namespace longtake
