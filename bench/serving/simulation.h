// One policy against one trace, in simulated time.
#ifndef LONGTAKE_BENCH_SERVING_SIMULATION_H_
#define LONGTAKE_BENCH_SERVING_SIMULATION_H_

#include <memory>
#include <vector>

#include "bench/serving/fake_device.h"
#include "bench/serving/trace.h"
#include "scheduler/policy.h"

namespace longtake::bench {

struct SimulationOptions {
  bool cap_lead = true;  // park streams far ahead of their viewers
  double max_live_load = 0.95;
  int max_waiting = 200;  // of each delivery
};

struct Outcome {
  int live = 0;    // viewers that came
  int smooth = 0;  // of them: saw all of their video without a stall
  int refused = 0, left = 0, stalled = 0;
  double stall_seconds = 0;
  double first_p50 = 0, first_p99 = 0;  // seconds from arrival to the first chunk, of those that got one
  int offline = 0, offline_done = 0;
  double span = 0;        // seconds from the first arrival to the last
  double busy_share = 0;  // of the device within the span
  double offline_of_leftover =
      0;  // device time of offline sessions / (span - that of live ones), while offline work waits
  uint64_t quotes = 0, quotes_kept = 0;
  double passes_per_batch = 0;
  double prediction_error = 0;

  double continuity() const { return live == 0 ? 1 : static_cast<double>(smooth) / live; }
};

Outcome Simulate(const std::vector<Visitor>& trace, const CostTable& table, const SimulationOptions& options,
                 std::shared_ptr<scheduler::Policy> policy);

}  // namespace longtake::bench

#endif  // LONGTAKE_BENCH_SERVING_SIMULATION_H_
