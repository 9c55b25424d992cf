// Fleets against each other, over several seeds: tables on standard output, everything as JSON.
#ifndef LONGTAKE_BENCH_SERVING_FLEET_EXPERIMENTS_H_
#define LONGTAKE_BENCH_SERVING_FLEET_EXPERIMENTS_H_

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bench/serving/fleet/scenario.h"
#include "bench/serving/pass_table.h"

namespace longtake::bench {

struct ExperimentOptions {
  std::vector<std::string> scenarios = {"day", "peak"};
  // "policies": fleets scaled by each metric, and fleets of a fixed size. "targets": each metric with several targets.
  // "variants": backlog seconds with other settings.
  std::vector<std::string> parts = {"policies"};
  std::vector<std::string> metrics = MetricNames();  // whose targets
  ScenarioOptions scenario;
  FleetOptions base;
  uint64_t seed = 1;  // the first of them
  int seeds = 5;
  int threads = 1;
};

nlohmann::json RunExperiments(const ExperimentOptions& options, const PassTable& table);

}  // namespace longtake::bench

#endif  // LONGTAKE_BENCH_SERVING_FLEET_EXPERIMENTS_H_
