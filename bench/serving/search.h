// Many simulations, several at a time.
#ifndef LONGTAKE_BENCH_SERVING_SEARCH_H_
#define LONGTAKE_BENCH_SERVING_SEARCH_H_

#include <functional>
#include <string>
#include <vector>

#include "bench/serving/simulation.h"
#include "bench/serving/trace.h"

namespace longtake::bench {

struct Run {
  std::string policy = "ours";
  TraceOptions trace;
  SimulationOptions simulation;
};

Outcome SimulateOne(const Run& run, const PassTable& table);

// Simulates each; `done(i, outcome)` is called under a lock as each ends.
std::vector<Outcome> SimulateAll(const std::vector<Run>& runs, const PassTable& table, int threads,
                                 const std::function<void(size_t, const Outcome&)>& done);

// The highest load of each, in hundredths, at which continuity is `needed` at least, by bisection between 0 and
// `highest`: that whoever fails at a load also fails above it is taken for granted. Each run stops as soon as it is
// decided. `progress` is called under a lock for each run.
std::vector<double> HighestLoads(const std::vector<Run>& searches, const PassTable& table, double needed,
                                 double highest, int threads,
                                 const std::function<void(size_t, double load, const Outcome&)>& progress);

}  // namespace longtake::bench

#endif  // LONGTAKE_BENCH_SERVING_SEARCH_H_
