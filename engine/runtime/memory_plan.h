// The memory that an engine will allocate, computed before it allocates any.
#ifndef LONGTAKE_ENGINE_RUNTIME_MEMORY_PLAN_H_
#define LONGTAKE_ENGINE_RUNTIME_MEMORY_PLAN_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "engine/core/memory_budget.h"

namespace longtake {

// Bytes of one session's slot; each region has the size that the largest video size needs. Specification section 4
// lists the parts of the state.
struct SlotPlan {
  uint64_t state = 0, state_spare = 0;
  uint64_t latents = 0;
  uint64_t decoder_cache = 0;
  uint64_t prompt = 0;
};

struct MemoryPlan {
  SlotPlan slot;
  int slots = 0;
  int decoder_cache_slots = 0;         // if fewer than slots, host memory holds the caches of all sessions
  uint64_t weights = 0, adapters = 0;  // already allocated when the plan is checked
  uint64_t mapped = 0;                 // of the weights, in files: the system counts their memory as free until then
  uint64_t scratch = 0;
  uint64_t frames = 0;         // on the host
  uint64_t checkpoint = 0;     // of a session that is being saved, on the host
  uint64_t others = 0;         // of the rest of the process, on the host
  uint64_t device_memory = 0;  // total memory of the device; 0: it works in host memory
};

// ResourceExhausted names max_sessions, the bytes that the plan needs and the bytes that there are, of the device or of
// the host (`host`). Without this check Linux would grant the memory and kill the process when it is first written.
absl::Status CheckMemory(const MemoryPlan& plan, const MemoryBudget& host);

// A one-line summary for the log.
std::string Describe(const MemoryPlan& plan, const MemoryBudget& host);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_RUNTIME_MEMORY_PLAN_H_
