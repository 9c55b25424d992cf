// Who goes into the next batch: one decision, apart from all bookkeeping, so that the simulator can put others in its
// place.
#ifndef LONGTAKE_SCHEDULER_POLICY_H_
#define LONGTAKE_SCHEDULER_POLICY_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "scheduler/cost_model.h"
#include "scheduler/device.h"

namespace longtake::scheduler {

// A pass that could run now. A session has at most two: one in each lane.
struct Candidate {
  PassKind kind = PassKind::kDenoise;
  double tokens = 0;
  bool live = true;
  uint64_t order = 0;      // of admission
  uint64_t last_turn = 0;  // of its session; turns are counted over all sessions; 0: had none
  uint64_t waited = 0;     // batches for which its session could run and had no pass
  // Of live sessions.
  double due = 0;    // when the next chunk is needed; seconds on the scheduler's clock
  double slack = 0;  // due, minus now, minus the predicted time to that chunk alone on the device; seconds
  int passes_to_chunk = 1;
  bool started = false;  // its first chunk has gone out
  // Of offline sessions.
  int tenant = 0;          // small numbers from 0
  double tenant_time = 0;  // device seconds that the tenant had, over its weight
  double tenant_weight = 1;
  int priority = 0;  // within the tenant; higher goes first
};

struct Situation {
  double now = 0;
  uint64_t batch = 0;       // batches so far
  size_t live_waiting = 0;  // live requests that wait for their place
  int max_passes = 1;
  const CostModel* cost = nullptr;
};

class Policy {
 public:
  virtual ~Policy() = default;
  // Indices of the passes to run as one batch: at least one, at most max_passes, none twice. `candidates` is not empty
  // and in order of admission. Must be a function of its arguments, and take n log n of them at most.
  virtual std::vector<size_t> Compose(const Situation& situation, const std::vector<Candidate>& candidates) = 0;
};

}  // namespace longtake::scheduler

#endif  // LONGTAKE_SCHEDULER_POLICY_H_
