// The highest load that each policy sustains.
#ifndef LONGTAKE_BENCH_SERVING_SEARCH_H_
#define LONGTAKE_BENCH_SERVING_SEARCH_H_

#include <functional>
#include <string>
#include <vector>

#include "bench/serving/simulation.h"
#include "bench/serving/trace.h"

namespace longtake::bench {

struct Run {
  std::string policy;
  TraceOptions trace;
  SimulationOptions simulation;
};

// Simulates each, several at a time; `done(i, outcome)` is called under a lock as each ends.
std::vector<Outcome> SimulateAll(const std::vector<Run>& runs, const CostTable& table, int threads,
                                 const std::function<void(size_t, const Outcome&)>& done);

// The highest load, in hundredths, at which continuity is `needed` at least, by bisection between 0 and `highest`: that
// a policy which fails at a load also fails above it is taken for granted. Each run stops as soon as it is decided.
// One search a policy and trace; `progress` is called under a lock for each run.
std::vector<double> HighestLoads(const std::vector<Run>& searches, const CostTable& table, double needed,
                                 double highest, int threads,
                                 const std::function<void(size_t, double load, const Outcome&)>& progress);

}  // namespace longtake::bench

#endif  // LONGTAKE_BENCH_SERVING_SEARCH_H_
