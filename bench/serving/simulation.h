// One policy on one server against one trace, in simulated time.
#ifndef LONGTAKE_BENCH_SERVING_SIMULATION_H_
#define LONGTAKE_BENCH_SERVING_SIMULATION_H_

#include <array>
#include <memory>
#include <vector>

#include "bench/serving/audience.h"
#include "bench/serving/pass_table.h"
#include "bench/serving/simulated_server.h"
#include "bench/serving/trace.h"
#include "common/pass_kind.h"
#include "scheduler/policy.h"

namespace longtake::bench {

// The same for each policy.
struct SimulationOptions {
  SimulatedServerOptions server;
  // A first chunk that comes later does not count as seen without interruption: seconds from the request.
  double latest_first = 10;
  // The run ends, with whatever it has, as soon as continuity can no longer reach this.
  double needed_continuity = 0;
};

struct Outcome : Attendance {
  bool whole = true;         // it was played to its end
  double video_seconds = 0;  // made until the last arrival, a second of that time
  double busy_share = 0;     // of the busiest device or lane, until then
  double passes_per_batch = 0;
  double prediction_error = 0;
  // Device seconds of all passes of a kind, and how many they were; by PassKind.
  std::array<double, kPassKinds.size()> pass_seconds = {};
  std::array<int, kPassKinds.size()> pass_count = {};
};

Outcome Simulate(const std::vector<Visitor>& trace, const PassTable& table, const SimulationOptions& options,
                 std::shared_ptr<scheduler::Policy> policy);

}  // namespace longtake::bench

#endif  // LONGTAKE_BENCH_SERVING_SIMULATION_H_
