// The loads that fleets are put under, and the fleets that are compared.
#ifndef LONGTAKE_BENCH_SERVING_FLEET_SCENARIO_H_
#define LONGTAKE_BENCH_SERVING_FLEET_SCENARIO_H_

#include <string>
#include <vector>

#include "bench/serving/fleet/fleet.h"
#include "bench/serving/trace.h"

namespace longtake::bench {

// The load is in servers: 1 is what one server is meant to have.
struct ScenarioOptions {
  // Load of one server, in the unit of TraceOptions::load. 0.5: of viewers who come to one server of the bundled model
  // at a steady rate, 99 of a hundred see their video in time and without a stall (docs/autoscaling.md).
  double server_load = 0.5;
  // Seconds that the day's wave takes. Three hours: eight times as steep as a day, which makes it harder to follow, and
  // keeps a run short.
  double day_seconds = 3 * 3600;
  double shortest = 5, longest = 240;  // seconds of video, as TraceOptions
};

struct Scenario {
  std::string name;
  TraceOptions trace;
  int first_pods = 0;  // with which an autoscaled fleet begins: enough for the first moment
  int peak_pods = 0, mean_pods = 0;
};

// From 1.2 servers' load up to 6.8 and back: 4 on average, and always within the manifests' 2 to 8 pods.
Scenario Day(const ScenarioOptions& options);
// An hour with 1.5 servers' load, in which it is four times as high from minute 15 to minute 30: 2 pods have to double
// twice.
Scenario Peak(const ScenarioOptions& options);

// One fleet, and what decides about the number of its pods. Of one scenario and `base`, fleets of one name are the same
// fleet, whichever of the lists below they are in.
struct FleetPolicy {
  std::string name;
  FleetOptions options;
};

// `base`, scaled by each metric with its default target, and two fleets of a fixed size: one for the peak, one for the
// mean.
std::vector<FleetPolicy> Policies(const Scenario& scenario, const FleetOptions& base);

// The names of the metrics that are compared, the one of the manifests first.
std::vector<std::string> MetricNames();

// `base`, scaled by each of these metrics with several targets, to choose one.
std::vector<FleetPolicy> Targets(const Scenario& scenario, const FleetOptions& base,
                                 const std::vector<std::string>& metrics);

// `base`, scaled by backlog seconds: first as it is, then with one thing changed each.
std::vector<FleetPolicy> Variants(const Scenario& scenario, const FleetOptions& base);

}  // namespace longtake::bench

#endif  // LONGTAKE_BENCH_SERVING_FLEET_SCENARIO_H_
