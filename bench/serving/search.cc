#include "bench/serving/search.h"

#include <cmath>

#include "bench/serving/parallel.h"
#include "bench/serving/policies.h"
#include "common/mutex.h"

namespace longtake::bench {

Outcome SimulateOne(const Run& run, const PassTable& table) {
  return Simulate(MakeTrace(run.trace, table), table, run.simulation, MakePolicy(run.policy, table.block_seconds()));
}

std::vector<Outcome> SimulateAll(const std::vector<Run>& runs, const PassTable& table, int threads,
                                 const std::function<void(size_t, const Outcome&)>& done) {
  std::vector<Outcome> outcomes(runs.size());
  Mutex mutex;
  ForEach(runs.size(), threads, [&](size_t i) {
    outcomes[i] = SimulateOne(runs[i], table);
    const MutexLock lock(mutex);
    done(i, outcomes[i]);
  });
  return outcomes;
}

std::vector<double> HighestLoads(const std::vector<Run>& searches, const PassTable& table, double needed,
                                 double highest, int threads,
                                 const std::function<void(size_t, double load, const Outcome&)>& progress) {
  std::vector<double> found(searches.size());
  Mutex mutex;
  ForEach(searches.size(), threads, [&](size_t i) {
    Run run = searches[i];
    run.simulation.needed_continuity = needed;
    int good = 0, bad = static_cast<int>(std::lround(highest * 100)) + 1;
    while (bad - good > 1) {
      const int middle = (good + bad) / 2;
      run.trace.load = middle / 100.0;
      const Outcome outcome = SimulateOne(run, table);
      (outcome.whole && outcome.continuity() >= needed ? good : bad) = middle;
      const MutexLock lock(mutex);
      progress(i, run.trace.load, outcome);
    }
    found[i] = good / 100.0;
  });
  return found;
}

}  // namespace longtake::bench
