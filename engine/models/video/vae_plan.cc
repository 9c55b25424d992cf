#include "engine/models/video/vae_plan.h"

#include "engine/ops/arena.h"

namespace longtake {

void PlanKept(const std::vector<KeptFrames>& kept, size_t element, VaePlan* plan) {
  for (const KeptFrames& k : kept) {
    const size_t bytes = plan->stages[k.stage].pixels() * k.channels * (k.wide ? sizeof(float) : element);
    plan->kept.push_back({.offset = plan->cache_bytes, .bytes = bytes});
    plan->cache_bytes += k.frames * Aligned(bytes);
  }
}

Mat ActFrame(const VaeContext& ctx, std::byte* frame, int stage, int64_t channels) {
  return MakeMat(frame, ctx.ops->activation_type(), ctx.plan->stages[stage].pixels(), channels);
}

Mat FloatFrame(const VaeContext& ctx, std::byte* frame, int stage, int64_t channels) {
  return MakeMat(frame, DType::kF32, ctx.plan->stages[stage].pixels(), channels);
}

ConvArgs Conv3x3(const PackedKernel& kernel, const FrameSize& from, std::span<const ConstMat> in, const FrameSize& to,
                 const Mat& out) {
  return {.kernel = kernel,
          .in = in,
          .in_height = from.height,
          .in_width = from.width,
          .out = {&out, 1},
          .out_height = to.height,
          .out_width = to.width,
          .pad_top = 1,
          .pad_left = 1};
}

std::byte* KeptFrame(const VaeContext& ctx, int kept, int64_t slot) {
  const VaePlan::Slot& at = ctx.plan->kept[kept];
  return ctx.caches + at.offset + slot * Aligned(at.bytes);
}

void Keep(const VaeContext& ctx, int kept, int64_t slot, ConstMat from) {
  if (ctx.caches == nullptr) return;
  ctx.ops->device().Copy(from.data, KeptFrame(ctx, kept, slot), ctx.plan->kept[kept].bytes);
}

}  // namespace longtake
