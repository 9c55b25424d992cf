#include "engine/models/wan/plan.h"

namespace longtake {

void PlanRings(const std::vector<WanRing>& rings, size_t element, WanPlan* plan) {
  for (const WanRing& ring : rings) {
    const size_t bytes = plan->stages[ring.stage].pixels() * ring.channels * element;
    plan->rings.push_back({.offset = plan->cache_bytes, .bytes = bytes});
    plan->cache_bytes += 2 * Aligned(bytes);
  }
}

}  // namespace longtake
