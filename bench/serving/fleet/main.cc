// longtake-autoscale: fleets of servers under a day's wave and a peak, scaled by several metrics and of fixed sizes, in
// simulation. The last line is JSON.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <map>
#include <thread>

#include "bench/serving/fleet/experiments.h"

namespace longtake::bench {
namespace {

const std::map<std::string, Workload> kWorkloads = {{"statefulset", Workload::kStatefulSet},
                                                    {"deployment", Workload::kDeployment},
                                                    {"deployment-cost", Workload::kDeploymentByCost}};
const std::map<std::string, Balance> kBalances = {{"random", Balance::kRandom}, {"quotes", Balance::kQuotes}};

nlohmann::json Json(const ScalingRules& rules) {
  nlohmann::json policies = nlohmann::json::array();
  for (const ScalingPolicy& policy : rules.policies) {
    const bool pods = policy.kind == ScalingPolicy::Kind::kPods;
    policies.push_back(
        {{"type", pods ? "Pods" : "Percent"}, {"value", policy.value}, {"periodSeconds", policy.period}});
  }
  return {{"stabilizationWindowSeconds", rules.window}, {"policies", policies}};
}

// What the simulator takes for the manifests' settings, in their words.
nlohmann::json Settings() {
  const ScalingOptions scaling = ManifestScaling();
  const FleetOptions fleet;
  return {{"minReplicas", scaling.least},
          {"maxReplicas", scaling.most},
          {"averageValue", DefaultTarget(Metric::kBacklog)},
          {"scaleUp", Json(scaling.up)},
          {"scaleDown", Json(scaling.down)},
          {"scrapeSeconds", fleet.scrape_seconds},
          {"startupProbeSeconds", fleet.pod.startup_probe_seconds},
          {"maxSessions", fleet.pod.server.studio.max_sessions},
          {"shutdownSeconds", absl::ToDoubleSeconds(fleet.pod.lifecycle.shutdown_limit)},
          {"shutdownGraceSeconds", absl::ToDoubleSeconds(fleet.pod.lifecycle.shutdown_grace)}};
}

}  // namespace
}  // namespace longtake::bench

int main(int argc, char** argv) {
  namespace bench = longtake::bench;
  std::string path = "bench/serving/tables/cpu_tiny.json";
  bench::ExperimentOptions options;
  options.threads = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  bench::FleetOptions& fleet = options.base;
  bool hand_over = false, quick = false, settings = false;
  double shutdown = absl::ToDoubleSeconds(fleet.pod.lifecycle.shutdown_limit);
  CLI::App app("Simulates fleets of servers that an autoscaler starts and ends.", "longtake-autoscale");
  app.add_option("--table", path, "What passes take")->capture_default_str();
  app.add_option("--scenario", options.scenarios, "What they are put through")
      ->check(CLI::IsMember({"day", "peak"}))
      ->capture_default_str();
  app.add_option("--part", options.parts, "What is compared: metrics and fixed sizes; targets; other settings")
      ->check(CLI::IsMember({"policies", "targets", "variants"}))
      ->capture_default_str();
  app.add_option("--metric", options.metrics, "With --part targets: of which metrics")
      ->check(CLI::IsMember(bench::MetricNames()))
      ->capture_default_str();
  app.add_option("--seed", options.seed, "The first of them")->capture_default_str();
  app.add_option("--seeds", options.seeds, "Runs of each kind")->check(CLI::Range(1, 100))->capture_default_str();
  app.add_option("--day-seconds", options.scenario.day_seconds, "Length of the day's wave")
      ->check(CLI::Range(60.0, 86400.0))
      ->capture_default_str();
  app.add_option("--server-load", options.scenario.server_load, "Load that one server is meant to have")
      ->check(CLI::Range(0.05, 1.0))
      ->capture_default_str();
  app.add_option("--shortest", options.scenario.shortest, "Seconds of the shortest video")
      ->check(CLI::Range(1.0, 3600.0))
      ->capture_default_str();
  app.add_option("--longest", options.scenario.longest, "Seconds of the longest video")
      ->check(CLI::Range(1.0, 3600.0))
      ->capture_default_str();
  app.add_option("--schedule-seconds", fleet.pod.schedule_seconds, "From a pod's creation until its container runs")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--load-seconds", fleet.pod.load_seconds, "From then until the model is loaded")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--shutdown-seconds", shutdown, "As the server's")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--workload", fleet.workload,
                 "Which pod goes: statefulset: the highest number; deployment: the youngest; "
                 "deployment-cost: the one with the least backlog")
      ->transform(CLI::CheckedTransformer(bench::kWorkloads));
  app.add_option("--balance", fleet.balance, "random: a pod each; quotes: the better quote of two pods")
      ->transform(CLI::CheckedTransformer(bench::kBalances));
  app.add_flag("--hand-over", hand_over,
               "A pod that shuts down gives its videos to others, as servers that share a store do");
  app.add_option("--threads", options.threads, "Runs at a time")->check(CLI::PositiveNumber)->capture_default_str();
  app.add_flag("--quick", quick, "Shows that everything works, with figures that mean little");
  app.add_flag("--print-settings", settings, "Prints what is taken for the manifests' settings, and nothing else");
  CLI11_PARSE(app, argc, argv);
  if (settings) {
    std::printf("%s\n", bench::Settings().dump().c_str());
    return 0;
  }
  if (options.scenario.shortest >= options.scenario.longest) {
    std::fprintf(stderr, "longtake-autoscale: --shortest must be below --longest\n");
    return 1;
  }
  fleet.pod.lifecycle.shutdown_limit = absl::Seconds(shutdown);
  if (hand_over) fleet.pod.drain = bench::Drain::kHandOver;
  if (quick) {
    options.seeds = 2;
    options.scenario.day_seconds = 240;
    options.scenarios = {"day"};
  }
  const auto table = bench::LoadTable(path);
  if (!table.ok()) {
    std::fprintf(stderr, "longtake-autoscale: %s\n", std::string(table.status().message()).c_str());
    return 1;
  }
  std::printf("%s\n", bench::RunExperiments(options, *table).dump().c_str());
}
