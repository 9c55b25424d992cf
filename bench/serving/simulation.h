// One policy against one trace, in simulated time: the scheduler itself, with the server's settings, over a machine, an
// encoder pool and viewers that are simulated.
#ifndef LONGTAKE_BENCH_SERVING_SIMULATION_H_
#define LONGTAKE_BENCH_SERVING_SIMULATION_H_

#include <array>
#include <memory>
#include <vector>

#include "bench/serving/machine.h"
#include "bench/serving/pass_table.h"
#include "bench/serving/trace.h"
#include "common/pass_kind.h"
#include "scheduler/policy.h"
#include "server/video/studio_options.h"

namespace longtake::bench {

// The same for each policy.
struct SimulationOptions {
  // As the server's. `max_sessions` is of each device; below 1: as many as the table's device holds.
  server::StudioOptions studio = {.max_sessions = 0};
  int devices = 1;
  Lanes lanes = Lanes::kOne;
  uint64_t seed = 1;  // of the machine's noise
  // A first chunk that comes later does not count as seen without interruption: seconds from the request.
  double latest_first = 10;
  // The run ends, with whatever it has, as soon as continuity can no longer reach this.
  double needed_continuity = 0;
};

// What happened to one visitor. Times are seconds from the trace's begin; below 0: never.
struct Visit {
  bool accepted = false, left = false, done = false;
  double quoted = -1;  // seconds from the request in which the first chunk was promised
  double first = -1;   // when the first chunk had gone out
  int stalls = 0;
  double stalled = 0;  // seconds
};

struct Outcome {
  int live = 0;  // viewers that came
  // Of them: got a first chunk in time, and saw all of their video without a stall.
  int smooth = 0;
  int admitted = 0, refused = 0, left = 0, late = 0, stalled = 0;
  double stall_seconds = 0;
  bool whole = true;  // it was played to its end
  // Seconds from arrival to the first chunk, of those that got one.
  double first_p50 = 0, first_p95 = 0, first_p99 = 0;
  int offline = 0, offline_done = 0;
  double video_seconds = 0;  // made until the last arrival, a second of that time
  double busy_share = 0;     // of the busiest device or lane, until then
  // Of live requests that were promised a first chunk, and got it or waited for it beyond the promised time.
  int quotes = 0, quotes_kept = 0;
  double quote_over_actual_p50 = 0;
  double passes_per_batch = 0;
  double prediction_error = 0;
  // Device seconds of all passes of a kind, and how many they were; by PassKind.
  std::array<double, kPassKinds.size()> pass_seconds = {};
  std::array<int, kPassKinds.size()> pass_count = {};
  std::vector<Visit> visits;

  // Of all live viewers who came.
  double continuity() const { return live == 0 ? 1 : static_cast<double>(smooth) / live; }
  // Of those who were admitted and did not leave: the share without a stall, as the load generator counts.
  double continuity_of_admitted() const {
    return admitted == left ? 1 : 1 - static_cast<double>(stalled) / (admitted - left);
  }
  double quotes_kept_share() const { return quotes == 0 ? 1 : static_cast<double>(quotes_kept) / quotes; }
};

Outcome Simulate(const std::vector<Visitor>& trace, const PassTable& table, const SimulationOptions& options,
                 std::shared_ptr<scheduler::Policy> policy);

}  // namespace longtake::bench

#endif  // LONGTAKE_BENCH_SERVING_SIMULATION_H_
