// Which passes go into a lane's next batch: one decision, apart from all bookkeeping, so that the simulator can put
// others in its place.
#ifndef LONGTAKE_SCHEDULER_POLICY_H_
#define LONGTAKE_SCHEDULER_POLICY_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "scheduler/cost_model.h"
#include "scheduler/device.h"

namespace longtake::scheduler {

// A pass that the lane could run now. A session has at most one in each lane.
struct Candidate {
  PassKind kind = PassKind::kDenoise;
  double tokens = 0;
  bool live = true;
  uint64_t order = 0;      // of admission
  uint64_t last_turn = 0;  // of its session; turns are counted over all sessions; 0: had none
  double waited = 0;       // seconds for which it could run and the lane passed it over
  // Of live sessions.
  double due = 0;           // of the lane's part of a chunk, seconds on the scheduler's clock; infinite: nobody watches
  double slack = 0;         // due, minus now, minus the predicted time of the lane's passes to it alone; seconds
  double lane_seconds = 0;  // the predicted time of those passes in company
  int passes_to_chunk = 1;  // how many they are
  bool started = false;     // its first chunk is decoded
  bool stalled = false;     // its picture has stood still before
  // Of offline sessions.
  bool yields = false;     // a live request waits for its place, which it leaves after its block
  int tenant = 0;          // small numbers from 0
  double tenant_time = 0;  // device seconds that the tenant had, over its weight
  double tenant_weight = 1;
  int priority = 0;  // within the tenant; higher goes first
};

struct Situation {
  double now = 0;
  uint64_t batch = 0;       // batches of the lane so far, this one included
  size_t live_waiting = 0;  // live requests that wait for their place
  int max_passes = 1;
  const CostModel* cost = nullptr;  // the lane's
  std::vector<size_t> by_due;       // the live candidates (ByDue)
  bool learned = false;             // the lane's costs are known; else predictions limit nothing
  // The earliest due first would make a stream late that could still be in time (Crowded).
  bool crowded = false;
  // The lane cannot keep up with its live streams: they need more than all of it.
  bool overloaded = false;
  // The candidate that must begin the batch: it has been passed over for too long.
  std::optional<size_t> turn;
};

// The live candidates by due, the earliest first; of equals the one whose turn is longest ago.
std::vector<size_t> ByDue(const std::vector<Candidate>& candidates);
// Whether serving them in that order, situation.by_due, makes a stream late that could still be in time.
bool Crowded(const Situation& situation, const std::vector<Candidate>& candidates);

class Policy {
 public:
  virtual ~Policy() = default;
  // Indices of the passes to run as one batch: at least one, at most max_passes, none twice. `candidates` is not empty
  // and in order of admission. Must be a function of its arguments, and take n log n of them at most.
  virtual std::vector<size_t> Compose(const Situation& situation, const std::vector<Candidate>& candidates) = 0;
};

}  // namespace longtake::scheduler

#endif  // LONGTAKE_SCHEDULER_POLICY_H_
