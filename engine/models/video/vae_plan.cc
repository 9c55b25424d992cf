#include "engine/models/video/vae_plan.h"

#include <map>
#include <tuple>

#include "engine/ops/arena.h"

namespace longtake {

void PlanKept(const Kept& kept, size_t element, VaePlan* plan) {
  // Rings that share slots, by stage, channels and, of one that does not share, its own number.
  std::map<std::tuple<int, int64_t, int>, std::vector<int>> groups;
  for (int i = 0; i < static_cast<int>(kept.rings.size()); ++i) {
    const RingShape& r = kept.rings[i];
    groups[{r.stage, r.channels, r.alone ? i : -1}].push_back(i);
  }
  plan->rings.resize(kept.rings.size());
  for (const auto& [key, members] : groups) {
    const auto& [stage, channels, alone] = key;
    const size_t bytes = Aligned(plan->stages[stage].pixels() * channels * element);
    const auto count = static_cast<int64_t>(members.size());
    for (int64_t r = 0; r < count; ++r) {
      plan->rings[members[r]] = {.offset = plan->cache_bytes, .bytes = bytes, .number = r, .rings = count};
    }
    plan->cache_bytes += (2 * count + 1) * bytes;
  }
  for (const KeptFrames& k : kept.frames) {
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

std::byte* RingFrame(const VaeContext& ctx, int ring, int64_t t, std::byte* spare) {
  if (ctx.caches == nullptr) return spare;
  const VaePlan::Ring& r = ctx.plan->rings[ring];
  const int64_t step = t + (ctx.plan->looks_ahead ? r.number : 0);
  return ctx.caches + r.offset + (step * r.rings + r.number) % (2 * r.rings + 1) * r.bytes;
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
