#include "bench/serving/fleet/experiments.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <map>
#include <utility>

#include "bench/serving/parallel.h"
#include "bench/serving/statistics.h"
#include "common/mutex.h"

namespace longtake::bench {
namespace {

double ShareOf(int count, const FleetOutcome& outcome) {
  return static_cast<double>(count) / std::max(1, outcome.live);
}

// One figure of an outcome. Shares are of the live viewers who came.
struct Figure {
  const char* name;
  const char* format;
  double (*of)(const FleetOutcome&);
};
constexpr Figure kFigures[] = {
    {"continuity", "%.4f", [](const FleetOutcome& o) { return o.continuity(); }},
    {"first_p50_s", "%.3f", [](const FleetOutcome& o) { return o.first_p50; }},
    {"first_p99_s", "%.2f", [](const FleetOutcome& o) { return o.first_p99; }},
    {"refused", "%.4f", [](const FleetOutcome& o) { return ShareOf(o.refused, o); }},
    {"left", "%.4f", [](const FleetOutcome& o) { return ShareOf(o.left, o); }},
    {"late", "%.4f", [](const FleetOutcome& o) { return ShareOf(o.late, o); }},
    {"stalled", "%.4f", [](const FleetOutcome& o) { return ShareOf(o.stalled, o); }},
    {"cut", "%.4f", [](const FleetOutcome& o) { return ShareOf(o.cut, o); }},
    {"offline_done", "%.3f",
     [](const FleetOutcome& o) { return static_cast<double>(o.offline_done) / std::max(1, o.offline); }},
    {"pod_hours", "%.2f", [](const FleetOutcome& o) { return o.pod_seconds / 3600; }},
    {"most_pods", "%.1f", [](const FleetOutcome& o) { return static_cast<double>(o.most_pods); }},
    {"changes", "%.1f", [](const FleetOutcome& o) { return static_cast<double>(o.changes); }},
};

std::string Text(const char* format, double value) {
  char text[32];
  std::snprintf(text, sizeof(text), format, value);
  return text;
}

using Outcomes = std::vector<FleetOutcome>;  // by seed

std::vector<double> Values(const Outcomes& outcomes, double (*of)(const FleetOutcome&)) {
  std::vector<double> values;
  for (const FleetOutcome& outcome : outcomes) values.push_back(of(outcome));
  return values;
}

// Of one fleet, over the seeds: values by seed, refusals in all, mean pods over time.
nlohmann::json Json(const Outcomes& outcomes) {
  nlohmann::json json;
  for (const Figure& figure : kFigures) json[figure.name] = Values(outcomes, figure.of);
  json["refusals"] = nlohmann::json::object();
  for (const FleetOutcome& outcome : outcomes) {
    for (const auto& [reason, count] : outcome.refusals) {
      json["refusals"][reason] = json["refusals"].value(reason, 0) + count;
    }
  }
  nlohmann::json& when = json["timeline"]["when"] = nlohmann::json::array();
  nlohmann::json& wanted = json["timeline"]["wanted"] = nlohmann::json::array();
  nlohmann::json& ready = json["timeline"]["ready"] = nlohmann::json::array();
  nlohmann::json& existing = json["timeline"]["existing"] = nlohmann::json::array();
  size_t moments = outcomes[0].timeline.size();
  for (const FleetOutcome& outcome : outcomes) moments = std::min(moments, outcome.timeline.size());
  const auto mean = [&](size_t at, int FleetOutcome::Moment::*of) {
    double sum = 0;
    for (const FleetOutcome& outcome : outcomes) sum += outcome.timeline[at].*of;
    return sum / static_cast<double>(outcomes.size());
  };
  for (size_t i = 0; i < moments; ++i) {
    when.push_back(outcomes[0].timeline[i].when);
    wanted.push_back(mean(i, &FleetOutcome::Moment::wanted));
    ready.push_back(mean(i, &FleetOutcome::Moment::ready));
    existing.push_back(mean(i, &FleetOutcome::Moment::existing));
  }
  return json;
}

class Experiments {
 public:
  Experiments(const ExperimentOptions& options, const PassTable& table) : options_(options), table_(table) {}

  nlohmann::json Run() {
    nlohmann::json result = {{"seeds", options_.seeds}, {"seed", options_.seed}, {"table", table_.name}};
    for (const std::string& name : options_.scenarios) {
      const Scenario scenario = name == "day" ? Day(options_.scenario) : Peak(options_.scenario);
      for (const std::string& part : options_.parts) result[part][name] = Part(part, scenario);
      nlohmann::json& load = result["load"][name] = nlohmann::json::array();  // in servers, every half minute
      for (int at = 0; at <= scenario.trace.duration; at += 30) {
        load.push_back(LoadAt(scenario.trace, at) / options_.scenario.server_load);
      }
    }
    result["sessions"] = sessions_;
    result["seconds"] = Elapsed();
    return result;
  }

 private:
  double Elapsed() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - began_).count(); }

  // Every fleet meets the visitors of every seed. The table marks what differs significantly from the first.
  nlohmann::json Part(const std::string& part, const Scenario& scenario) {
    const std::vector<FleetPolicy> fleets = part == "targets"    ? Targets(scenario, options_.base, options_.metrics)
                                            : part == "variants" ? Variants(scenario, options_.base)
                                                                 : Policies(scenario, options_.base);
    Simulate(scenario, fleets);
    const auto outcomes_of = [&](size_t fleet) -> const Outcomes& {
      return done_.at({scenario.name, fleets[fleet].name});
    };
    std::printf("%s, %s; *: differs significantly from %s\n\n| |", scenario.name.c_str(), part.c_str(),
                fleets[0].name.c_str());
    for (const Figure& figure : kFigures) std::printf(" %s |", figure.name);
    std::printf(" refusals |\n|---|");
    for (size_t i = 0; i <= std::size(kFigures); ++i) std::printf("---|");
    nlohmann::json result;
    for (size_t i = 0; i < fleets.size(); ++i) {
      std::printf("\n| %s |", fleets[i].name.c_str());
      for (const Figure& figure : kFigures) {
        const std::vector<double> values = Values(outcomes_of(i), figure.of);
        const Interval mean = MeanOf(values);
        const bool differs = i > 0 && Difference(values, Values(outcomes_of(0), figure.of)).excludes_zero();
        std::printf(" %s ± %s%s |", Text(figure.format, mean.mean).c_str(), Text(figure.format, mean.half).c_str(),
                    differs ? "*" : "");
      }
      nlohmann::json& json = result[fleets[i].name] = Json(outcomes_of(i));
      json["order"] = i;
      for (const auto& [reason, count] : json["refusals"].items()) {
        std::printf(" %s %d", reason.c_str(), count.get<int>());
      }
      std::printf(" |");
    }
    std::printf("\n\n");
    std::fflush(stdout);
    return result;
  }

  // Those of the fleets that have not been simulated in this scenario: a fleet may be in several parts.
  void Simulate(const Scenario& scenario, const std::vector<FleetPolicy>& fleets) {
    std::vector<const FleetPolicy*> missing;
    for (const FleetPolicy& fleet : fleets) {
      const bool added = done_.try_emplace({scenario.name, fleet.name}, options_.seeds).second;
      if (added) missing.push_back(&fleet);
    }
    std::vector<std::vector<Visitor>> traces;
    for (int i = 0; i < options_.seeds; ++i) {
      TraceOptions trace = scenario.trace;
      trace.seed = options_.seed + i;
      traces.push_back(MakeTrace(trace, table_));
    }
    Mutex mutex;
    ForEach(missing.size() * options_.seeds, options_.threads, [&](size_t run) {
      const FleetPolicy& fleet = *missing[run / options_.seeds];
      const size_t seed = run % options_.seeds;
      FleetOptions options = fleet.options;
      options.seed = options_.seed + seed;
      FleetOutcome outcome = SimulateFleet(traces[seed], table_, options);
      const MutexLock lock(mutex);
      sessions_ += traces[seed].size();
      std::fprintf(stderr, "%5.0f s  %s, %s, seed %d: continuity %.4f, %.2f pod-hours\n", Elapsed(),
                   scenario.name.c_str(), fleet.name.c_str(), static_cast<int>(options.seed), outcome.continuity(),
                   outcome.pod_seconds / 3600);
      done_.at({scenario.name, fleet.name})[seed] = std::move(outcome);
    });
  }

  const ExperimentOptions& options_;
  const PassTable& table_;
  const std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
  std::map<std::pair<std::string, std::string>, Outcomes> done_;  // by scenario and fleet
  size_t sessions_ = 0;                                           // simulated so far
};

}  // namespace

nlohmann::json RunExperiments(const ExperimentOptions& options, const PassTable& table) {
  return Experiments(options, table).Run();
}

}  // namespace longtake::bench
