// longtake-serving: policies side by side on the same traces, in simulated time. The last line is JSON.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>

#include "absl/time/clock.h"
#include "bench/serving/policies.h"
#include "bench/serving/simulation.h"
#include "bench/serving/tick.h"

namespace {

using longtake::bench::CostTable;
using longtake::bench::Outcome;
using longtake::bench::SimulationOptions;
using longtake::bench::TraceOptions;

struct Flags {
  std::string table = "cpu_tiny";
  std::vector<std::string> policies = longtake::bench::PolicyNames();
  TraceOptions trace;
  SimulationOptions simulation;
  std::vector<double> loads = {0.5, 0.6, 0.7, 0.8, 0.9, 1.0};
  bool tick = true;
};

Outcome RunOne(const Flags& flags, const CostTable& table, const std::string& policy, bool mixed, double load) {
  TraceOptions trace = flags.trace;
  trace.mixed_sizes = mixed;
  trace.load = load;
  SimulationOptions simulation = flags.simulation;
  // Resting far ahead of the viewer is part of ours; the others' rules know no such thing.
  simulation.cap_lead = policy == "ours";
  const absl::Time begin = absl::Now();
  const Outcome outcome = longtake::bench::Simulate(longtake::bench::MakeTrace(trace, table), table, simulation,
                                                    longtake::bench::MakePolicy(policy));
  std::printf(
      "%-6s load %.2f %-12s continuity %.4f refused %d left %d stalled %d (%.0f s) first p50 %.2f p99 %.2f s busy %.2f "
      "offline of leftover %.3f quotes kept %llu/%llu passes/batch %.2f prediction error %.3f (%.1f s)\n",
      mixed ? "mixed" : "equal", load, policy.c_str(), outcome.continuity(), outcome.refused, outcome.left,
      outcome.stalled, outcome.stall_seconds, outcome.first_p50, outcome.first_p99, outcome.busy_share,
      outcome.offline_of_leftover, static_cast<unsigned long long>(outcome.quotes_kept),
      static_cast<unsigned long long>(outcome.quotes), outcome.passes_per_batch, outcome.prediction_error,
      absl::ToDoubleSeconds(absl::Now() - begin));
  std::fflush(stdout);
  return outcome;
}

}  // namespace

int main(int argc, char** argv) {
  Flags flags;
  CLI::App app("Simulates viewers of one device under several policies.", "longtake-serving");
  app.add_option("--table", flags.table, "cpu_tiny, h100_2b or h200_2b")->capture_default_str();
  app.add_option("--policy", flags.policies, "Policies to run")->check(CLI::IsMember(longtake::bench::PolicyNames()));
  app.add_option("--arrivals", flags.trace.arrivals, "How visitors come")
      ->check(CLI::IsMember({"poisson", "bursty", "daily"}))
      ->capture_default_str();
  app.add_option("--sessions", flags.trace.sessions, "Of each policy, trace and load")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--seed", flags.trace.seed, "Of the trace")->capture_default_str();
  app.add_option("--loads", flags.loads, "Offered live video / saturated rate");
  app.add_option("--max-live-load", flags.simulation.max_live_load, "Admission's limit")->capture_default_str();
  app.add_flag("!--no-tick", flags.tick, "Leave the cost of a tick out");
  CLI11_PARSE(app, argc, argv);
  const CostTable* table = longtake::bench::FindTable(flags.table);
  if (table == nullptr) {
    std::fprintf(stderr, "--table: there is no table %s\n", flags.table.c_str());
    return 1;
  }

  std::sort(flags.loads.begin(), flags.loads.end());
  nlohmann::json result = {
      {"sessions", flags.trace.sessions}, {"table", flags.table}, {"arrivals", flags.trace.arrivals}};
  double offline_of_leftover = 1;
  for (const bool mixed : {false, true}) {
    const char* trace = mixed ? "mixed" : "equal";
    std::map<std::string, std::map<double, double>> continuity;
    std::map<std::string, double> best;
    for (const std::string& policy : flags.policies) {
      best[policy] = 0;
      for (double load : flags.loads) {
        const Outcome outcome = RunOne(flags, *table, policy, mixed, load);
        continuity[policy][load] = outcome.continuity();
        if (outcome.continuity() >= 0.99) best[policy] = load;
        if (policy == "ours" && outcome.continuity() >= 0.99 && outcome.offline_done < outcome.offline) {
          offline_of_leftover = std::min(offline_of_leftover, outcome.offline_of_leftover);
        }
      }
    }
    result["load_at_99"][trace] = best;
    for (const auto& [policy, by_load] : continuity) {
      const auto at = by_load.find(best["ours"]);
      if (at != by_load.end()) result["continuity_at_our_load"][trace][policy] = at->second;
    }
  }
  result["offline_of_leftover"] = offline_of_leftover;
  if (flags.tick) {
    for (int sessions : {100, 1000, 10'000}) {
      const double us = longtake::bench::TickMicroseconds(sessions);
      std::printf("tick with %d sessions: %.1f us\n", sessions, us);
      result["tick_us_" + std::to_string(sessions)] = us;
    }
  }
  std::printf("%s\n", result.dump().c_str());
}
