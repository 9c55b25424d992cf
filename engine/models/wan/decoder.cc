#include "engine/models/wan/decoder.h"

#include <algorithm>
#include <array>
#include <utility>

#include "absl/strings/str_cat.h"

namespace longtake {

// Frames run through the stages depth first: where a stage doubles time, its first new frame runs through all later
// stages before the second one does. Only one frame of each stage is therefore in memory at a time: 393 MB of scratch
// at 480p in bf16. Keeping the last stage's four frames side by side would take 1.5 GB.
struct WanDecoder::Call {
  VaeContext ctx;
  const WanPlan& plan;
  std::byte* scratch;
  bool first;                               // this is the video's first latent frame: time is not doubled
  bool has_first;                           // the caches begin with the video's first latent frame
  std::array<int64_t, kMaxWanStages> seen;  // for each stage, frames since the caches' beginning
  absl::FunctionRef<void(ConstMat)> emit;
};

class WanDecoder::Sized final : public SizedVideoDecoder {
 public:
  Sized(const WanDecoder& decoder, WanPlan plan) : decoder_(decoder), plan_(std::move(plan)) {}

  size_t cache_bytes() const override { return plan_.cache_bytes; }
  size_t scratch_bytes() const override { return plan_.scratch_bytes; }
  void Decode(const float* latents, int64_t frames, int64_t t, VideoStream* stream, void* scratch,
              Emit emit) const override {
    const FrameSize size = plan_.stages.back();
    decoder_.Decode(plan_, latents, frames, t, stream, scratch, [&](ConstMat pixels) {
      emit({.pixels = pixels, .rows = size.height, .columns = size.width, .patch = decoder_.config_.patch});
    });
  }
  bool Drain(VideoStream* /*stream*/, void* /*scratch*/, Emit /*emit*/) const override { return false; }

 private:
  const WanDecoder& decoder_;
  const WanPlan plan_;
};

WanDecoder::WanDecoder(const WanConfig& config, WanLoader& loader, Ops* ops)
    : config_(config), geometry_(config.geometry()), ops_(ops) {
  const int count = config_.stages();
  const int64_t z = config_.z_dim;
  const int64_t widest = config_.decoder_base_dim * config_.dim_mult.back();
  post_quant_ = loader.Kernel("post_quant_conv", {.outputs = z, .inputs = z});
  conv_in_ = WanConv::Load(loader, "decoder.conv_in", 0, z, widest);
  middle_ = WanMiddle::Load(loader, "decoder.mid_block", 0, widest);

  int64_t inputs = widest;
  for (int i = 0; i < count; ++i) {
    Stage stage;
    const std::string name = absl::StrCat("decoder.up_blocks.", i);
    stage.width = config_.decoder_base_dim * config_.dim_mult[count - 1 - i];
    for (int j = 0; j <= config_.res_blocks; ++j) {
      stage.blocks.push_back(
          WanResidual::Load(loader, absl::StrCat(name, ".resnets.", j), i, j == 0 ? inputs : stage.width, stage.width));
    }
    inputs = stage.width / 2;
    if (i + 1 < count) {
      const std::string up = name + ".upsamplers.0";
      stage.space = loader.Kernel(up + ".resample.1", {.outputs = inputs, .inputs = stage.width, .kh = 3, .kw = 3},
                                  /*spatial=*/true);
      stage.doubles_time = config_.temporal_downsample[count - 2 - i];
      if (stage.doubles_time) {
        const KernelShape both{.outputs = 2 * stage.width, .inputs = stage.width, .kt = 3};
        for (int half = 0; half < 2; ++half) {
          stage.time[half] = loader.KernelPart(up + ".time_conv", both, half * stage.width, stage.width);
        }
        stage.time_ring = loader.Ring({.stage = i, .channels = stage.width});
      }
    }
    stages_.push_back(std::move(stage));
  }
  head_ = WanHead::Load(loader, "decoder", count - 1, stages_.back().width, config_.pixel_channels());
  kept_ = loader.kept();
  weight_bytes_ = loader.packed_bytes();
}

std::unique_ptr<SizedVideoDecoder> WanDecoder::ForLatents(int height, int width) const {
  return std::make_unique<Sized>(*this, Plan(height, width));
}

// At 832x480 in bf16 (latents 60 x 104, Wan 2.1) the caches take 2.04 GB, 1.15 of them in the last stage, and scratch
// takes 393 MB.
WanPlan WanDecoder::Plan(int latent_height, int latent_width) const {
  WanPlan plan;
  const size_t element = SizeOf(ops_->activation_type());
  const size_t count = stages_.size();
  std::vector<size_t> act, f32;  // bytes of each stage's largest frame, in both types
  std::vector<bool> in_work;     // whether a stage's x lies at the end of the work area
  size_t work = 0;               // bytes of the work area: n, y, and such an x
  for (size_t i = 0; i < count; ++i) {
    plan.stages.push_back({latent_height << i, latent_width << i});
    const int64_t elements = plan.stages[i].pixels() * std::max(stages_[i].blocks[0].inputs, stages_[i].width);
    // The last stage's n is not used: its convolutions read from the caches.
    act.push_back(i + 1 < count ? Aligned(elements * element) : 0);
    f32.push_back(Aligned(elements * sizeof(float)));
    // Only a stage that doubles time needs its x again after the later stages have run. The x of another stage may lie
    // in the memory that the later stages work in, but must not overlap the next stage's x, which is computed from it.
    in_work.push_back(i + 1 < count && !stages_[i].doubles_time && (i == 0 || !in_work[i - 1]));
    work = std::max(work, act[i] + f32[i] + (in_work[i] ? f32[i] : 0));
    // The frame from which the next x is computed lies in n or y.
    if (in_work[i] && i > 0) work = std::max(work, 2 * act[i - 1] + f32[i]);
  }
  // The finished frame reuses the memory of y.
  work = std::max(work, act.back() + Aligned(plan.stages.back().pixels() * config_.pixel_channels() * sizeof(float)));
  const size_t latent = Aligned(plan.stages[0].pixels() * config_.z_dim * element);
  const size_t middle = Aligned(plan.stages[0].pixels() * middle_.width * element);
  work = std::max(work, std::max(2 * latent, WanMiddle::kWorkFrames * middle) + (in_work[0] ? f32[0] : 0));

  plan.scratch_bytes = work;
  for (size_t i = 0; i < count; ++i) {
    plan.n.push_back(0);
    plan.y.push_back(act[i]);
    plan.x.push_back(in_work[i] ? work - f32[i] : plan.scratch_bytes);
    if (!in_work[i]) plan.scratch_bytes += f32[i];
  }
  PlanKept(kept_, element, &plan);
  return plan;
}

void WanDecoder::Decode(const WanPlan& plan, const float* latents, int64_t frames, int64_t t, VideoStream* stream,
                        void* scratch, absl::FunctionRef<void(ConstMat frame)> emit) const {
  Call call{.ctx = {ops_, &plan, static_cast<std::byte*>(stream->caches)},
            .plan = plan,
            .scratch = static_cast<std::byte*>(scratch),
            .first = stream->frames == 0,
            .has_first = stream->first == 0,
            .seen = {},
            .emit = emit};
  int64_t frames_a_latent = 1;
  for (size_t i = 0; i < stages_.size(); ++i) {
    const auto frames_of = [&](int64_t latents) { return latents == 0 ? 0 : 1 + frames_a_latent * (latents - 1); };
    call.seen[i] = frames_of(stream->frames) - frames_of(stream->first);
    if (stages_[i].doubles_time) frames_a_latent *= 2;
  }

  const int64_t z = config_.z_dim;
  const size_t latent_bytes = Aligned(plan.stages[0].pixels() * z * SizeOf(ops_->activation_type()));
  const Mat latent = ActFrame(call.ctx, call.scratch, 0, z);
  const Mat mixed = conv_in_.Input(call.ctx, call.seen[0], call.scratch + latent_bytes);
  std::byte* x = call.scratch + plan.x[0];
  ops_->latents().LatentsToFrame(
      {.latents = latents, .frames = frames, .t = t, .mean = config_.mean, .std = config_.std, .frame = latent});
  ops_->dense().Linear({.kernel = *post_quant_, .x = latent, .y = mixed});
  conv_in_.Run(call.ctx, call.seen[0], mixed, FloatFrame(call.ctx, x, 0, middle_.width));
  middle_.Run(call.ctx, call.seen[0], x, call.scratch);
  RunStage(call, 0);
  ++stream->frames;
}

void WanDecoder::RunStage(Call& call, size_t i) const {
  const Stage& stage = stages_[i];
  const WanPlan& plan = call.plan;
  const int index = static_cast<int>(i);
  const int64_t seen = call.seen[i]++;
  std::byte* x = call.scratch + plan.x[i];
  std::byte* n = call.scratch + plan.n[i];
  std::byte* y = call.scratch + plan.y[i];
  for (const WanResidual& block : stage.blocks) block.Run(call.ctx, seen, x, n, y);

  if (stage.space == nullptr) {
    const Mat pixels = FloatFrame(call.ctx, y, index, config_.pixel_channels());
    head_.Run(call.ctx, seen, x, n, pixels);
    call.emit(pixels);
    return;
  }
  const bool doubles = stage.doubles_time && !call.first;
  std::byte* const rounded = doubles ? RingFrame(call.ctx, stage.time_ring, seen, n) : n;
  const Mat frame = ActFrame(call.ctx, rounded, index, stage.width);
  ops_->elementwise().Convert(FloatFrame(call.ctx, x, index, stage.width), frame);
  if (!doubles) {
    DoubleSpace(call, i, frame);
    RunStage(call, i + 1);
    return;
  }
  // The video's first frame does not enter this convolution or its history. The second new frame waits in x.
  const int64_t before = call.has_first ? seen - 1 : seen;
  const Mat made[2] = {ActFrame(call.ctx, y, index, stage.width), ActFrame(call.ctx, x, index, stage.width)};
  for (int half = 0; half < 2; ++half) {
    RunTemporal(call.ctx, *stage.time[half], stage.time_ring, index, seen, before, frame, made[half]);
  }
  for (const Mat& half : made) {
    DoubleSpace(call, i, half);
    RunStage(call, i + 1);
  }
}

void WanDecoder::DoubleSpace(const Call& call, size_t i, ConstMat in) const {
  const WanPlan& plan = call.plan;
  const PackedKernel& kernel = *stages_[i].space;
  const int next = static_cast<int>(i) + 1;
  const Mat out = FloatFrame(call.ctx, call.scratch + plan.x[next], next, kernel.shape().outputs);
  ConvArgs args = Conv3x3(kernel, plan.stages[i], {&in, 1}, plan.stages[next], out);
  args.upsample = 2;
  ops_->convolution().Conv(args);
}

}  // namespace longtake
