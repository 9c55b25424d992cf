// What an engine will take of memory, before it takes it.
#ifndef LONGTAKE_ENGINE_RUNTIME_MEMORY_PLAN_H_
#define LONGTAKE_ENGINE_RUNTIME_MEMORY_PLAN_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "engine/core/memory_budget.h"

namespace longtake {

// Bytes of one session's slot, each region at the largest size. Specification section 4 has the state's parts.
struct SlotPlan {
  uint64_t state = 0, state_spare = 0;
  uint64_t latents = 0;
  uint64_t decoder_cache = 0;
  uint64_t prompt = 0;
};

struct MemoryPlan {
  SlotPlan slot;
  int slots = 0;
  int decoder_cache_slots = 0;  // where there are fewer than slots, host memory holds the caches of all
  uint64_t weights = 0;         // they are in memory when the plan is checked
  uint64_t scratch = 0;
  uint64_t frames = 0;         // on the host
  uint64_t checkpoint = 0;     // on the host, where the device has memory of its own
  uint64_t device_memory = 0;  // of the device in all; 0: it works in the host's memory
};

// ResourceExhausted names max_sessions and says what the plan needs and what there is: of the device, and of the host
// as `host` says. Linux would grant too much memory piece by piece, and end the process when it is touched.
absl::Status CheckMemory(const MemoryPlan& plan, const MemoryBudget& host);

// One line for a log.
std::string Describe(const MemoryPlan& plan, const MemoryBudget& host);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_RUNTIME_MEMORY_PLAN_H_
