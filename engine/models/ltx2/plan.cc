#include "engine/models/ltx2/plan.h"

namespace longtake {

void PlanKept(const std::vector<Ltx2Kept>& kept, size_t element, Ltx2Plan* plan) {
  for (const Ltx2Kept& k : kept) {
    const size_t bytes = plan->stages[k.stage].pixels() * k.channels * (k.wide ? sizeof(float) : element);
    plan->kept.push_back({.offset = plan->cache_bytes, .bytes = bytes});
    plan->cache_bytes += k.frames * Aligned(bytes);
  }
}

}  // namespace longtake
