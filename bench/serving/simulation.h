// One policy against one trace, in simulated time.
#ifndef LONGTAKE_BENCH_SERVING_SIMULATION_H_
#define LONGTAKE_BENCH_SERVING_SIMULATION_H_

#include <memory>
#include <vector>

#include "bench/serving/fake_device.h"
#include "bench/serving/trace.h"
#include "scheduler/policy.h"

namespace longtake::bench {

// The same for each policy.
struct SimulationOptions {
  double lead_high = 90, lead_low = 70;  // seconds
  double max_live_load = 0.95;
  double max_wait = 60;   // seconds; who would wait longer is refused
  int max_waiting = 200;  // of each delivery
  // The run ends, with whatever it has, as soon as continuity can no longer reach this.
  double needed_continuity = 0;
};

struct Outcome {
  int live = 0;    // viewers that came
  int smooth = 0;  // of them: saw all of their video without a stall
  int refused = 0, left = 0, stalled = 0;
  double stall_seconds = 0;
  bool whole = true;                    // it was played to its end
  double first_p50 = 0, first_p99 = 0;  // seconds from arrival to the first chunk, of those that got one
  int offline = 0, offline_done = 0, offline_refused = 0;
  double span = 0;        // seconds from the first arrival to the last
  double busy_share = 0;  // of the device within the span
  // Device time of offline sessions / (time - that of live ones), while there was an offline request.
  double offline_of_leftover = 0;
  // Of live requests that were admitted when pass times were known, and got their first chunk or waited for it beyond
  // the quoted time.
  int quotes = 0, quotes_kept = 0;
  double quote_over_actual_p50 = 0;
  double passes_per_batch = 0;
  double prediction_error = 0;

  double continuity() const { return live == 0 ? 1 : static_cast<double>(smooth) / live; }
};

Outcome Simulate(const std::vector<Visitor>& trace, const CostTable& table, const SimulationOptions& options,
                 std::shared_ptr<scheduler::Policy> policy);

}  // namespace longtake::bench

#endif  // LONGTAKE_BENCH_SERVING_SIMULATION_H_
