#include "bench/serving/fleet/scenario.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <utility>

namespace longtake::bench {
namespace {

constexpr std::pair<const char*, Metric> kMetrics[] = {{"backlog", Metric::kBacklog},
                                                       {"cpu", Metric::kCpu},
                                                       {"requests", Metric::kRequests},
                                                       {"live_load", Metric::kLiveLoad}};

int PodsFor(double servers, int least) { return std::max(least, static_cast<int>(std::ceil(servers - 1e-9))); }

// From a target that keeps the objective with pods to spare to one that does not keep it.
std::vector<double> TargetsOf(Metric metric) {
  switch (metric) {
    case Metric::kBacklog:
    case Metric::kBacklogPods:
      return {10, 15, 20, 30};
    case Metric::kLiveLoad:
      return {0.3, 0.4, 0.5};
    case Metric::kRequests:
      return {4, 6, 8};
    case Metric::kCpu:
      return {0.7, 0.8, 0.9};
  }
  return {};
}

// Scaled by the metric, whose name is `name`.
FleetPolicy Scaled(const Scenario& scenario, FleetOptions options, const char* name, Metric metric, double target) {
  options.pods = scenario.first_pods;
  if (!options.scaling.has_value()) options.scaling = ManifestScaling();
  options.metric = metric;
  options.target = target;
  char text[32];
  std::snprintf(text, sizeof(text), "%s %.3g", name, target);
  return {text, options};
}

FleetOptions Fixed(FleetOptions options, int pods) {
  options.pods = pods;
  options.scaling.reset();
  return options;
}

}  // namespace

Scenario Day(const ScenarioOptions& options) {
  constexpr double kMean = 4, kSwing = 0.7;
  return {.name = "day",
          .trace = {.arrivals = "wave",
                    .load = kMean * options.server_load,
                    .shortest = options.shortest,
                    .longest = options.longest,
                    .duration = options.day_seconds,
                    .period = options.day_seconds,
                    .swing = kSwing},
          .first_pods = PodsFor(kMean * (1 - kSwing), ManifestScaling().least),
          .peak_pods = PodsFor(kMean * (1 + kSwing), 1),
          .mean_pods = PodsFor(kMean, 1)};
}

Scenario Peak(const ScenarioOptions& options) {
  constexpr double kBase = 1.5, kFactor = 4, kSeconds = 3600, kLength = 900;
  return {.name = "peak",
          .trace = {.arrivals = "peak",
                    .load = kBase * options.server_load,
                    .shortest = options.shortest,
                    .longest = options.longest,
                    .duration = kSeconds,
                    .peak_begin = 900,
                    .peak_seconds = kLength,
                    .peak_factor = kFactor},
          .first_pods = PodsFor(kBase, ManifestScaling().least),
          .peak_pods = PodsFor(kBase * kFactor, 1),
          .mean_pods = PodsFor(kBase * (1 + (kFactor - 1) * kLength / kSeconds), 1)};
}

std::vector<FleetPolicy> Policies(const Scenario& scenario, const FleetOptions& base) {
  std::vector<FleetPolicy> policies;
  for (const auto& [name, metric] : kMetrics) {
    policies.push_back(Scaled(scenario, base, name, metric, DefaultTarget(metric)));
  }
  policies.push_back({"fixed_peak", Fixed(base, scenario.peak_pods)});
  policies.push_back({"fixed_mean", Fixed(base, scenario.mean_pods)});
  return policies;
}

std::vector<std::string> MetricNames() {
  std::vector<std::string> names;
  for (const auto& [name, metric] : kMetrics) names.emplace_back(name);
  return names;
}

std::vector<FleetPolicy> Targets(const Scenario& scenario, const FleetOptions& base,
                                 const std::vector<std::string>& metrics) {
  std::vector<FleetPolicy> policies;
  for (const auto& [name, metric] : kMetrics) {
    if (std::find(metrics.begin(), metrics.end(), name) == metrics.end()) continue;
    for (const double target : TargetsOf(metric)) {
      policies.push_back(Scaled(scenario, base, name, metric, target));
    }
  }
  return policies;
}

std::vector<FleetPolicy> Variants(const Scenario& scenario, const FleetOptions& base) {
  using Kind = ScalingPolicy::Kind;
  const auto& [name, metric] = kMetrics[0];
  const FleetPolicy plain = Scaled(scenario, base, name, metric, DefaultTarget(metric));
  std::vector<FleetPolicy> variants = {plain};
  const auto add = [&](const char* change) -> FleetOptions& {
    variants.push_back({change, plain.options});
    return variants.back().options;
  };
  add("HPA with prometheus-adapter").metric = Metric::kBacklogPods;
  add("Deployment, pod-deletion-cost").workload = Workload::kDeploymentByCost;
  add("two quotes").balance = Balance::kQuotes;
  add("a pod in 10 s").pod.schedule_seconds = 10;
  // The 2B model's load from a disk that had not been read (docs/hardware.md).
  add("a model that loads in 204 s").pod.load_seconds = 204;
  add("shutdown in 25 s").pod.lifecycle.shutdown_limit = absl::Seconds(25);
  FleetOptions& shared = add("servers that share a store");  // the overlay shared
  shared.workload = Workload::kDeployment;
  shared.pod.drain = Drain::kHandOver;
  shared.pod.lifecycle.shutdown_limit = absl::Seconds(25);
  add("up as fast as HPA's defaults").scaling->up.policies = {{Kind::kPercent, 100, 15}, {Kind::kPods, 4, 15}};
  add("down after 5 minutes").scaling->down.window = 300;
  add("down by 1 a minute").scaling->down.policies = {{Kind::kPods, 1, 60}};
  add("down after 5 minutes, by 1 a minute").scaling->down = {.window = 300, .policies = {{Kind::kPods, 1, 60}}};
  return variants;
}

}  // namespace longtake::bench
