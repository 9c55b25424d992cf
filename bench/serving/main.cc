// longtake-serving: policies side by side on the same traces, in simulated time. The last line is JSON.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>
#include <thread>

#include "bench/serving/policies.h"
#include "bench/serving/search.h"
#include "bench/serving/tick.h"

namespace {

using longtake::bench::CostTable;
using longtake::bench::Outcome;
using longtake::bench::Run;

struct Flags {
  std::string table = "cpu_tiny";
  std::vector<std::string> policies = longtake::bench::PolicyNames();
  Run run;
  std::vector<double> loads;
  double highest = 1.2;
  int threads = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  bool tick = true;
};

void Print(const Run& run, const Outcome& o) {
  std::printf(
      "%-5s %-11s load %.2f continuity %s%.4f refused %d left %d stalled %d (%.1f s) first p50 %.2f p99 %.2f s busy "
      "%.2f offline of leftover %.3f quotes kept %d/%d, quoted/actual %.2f, passes/batch %.2f, prediction error %.3f\n",
      run.trace.mixed_sizes ? "mixed" : "equal", run.policy.c_str(), run.trace.load, o.whole ? "" : "below ",
      o.whole ? o.continuity() : run.simulation.needed_continuity, o.refused, o.left, o.stalled, o.stall_seconds,
      o.first_p50, o.first_p99, o.busy_share, o.offline_of_leftover, o.quotes_kept, o.quotes, o.quote_over_actual_p50,
      o.passes_per_batch, o.prediction_error);
  std::fflush(stdout);
}

nlohmann::json Describe(const Run& run, const Outcome& o) {
  return {{"sizes", run.trace.mixed_sizes ? "mixed" : "equal"},
          {"policy", run.policy},
          {"load", run.trace.load},
          {"continuity", o.continuity()},
          {"first_chunk_p50_s", o.first_p50},
          {"first_chunk_p99_s", o.first_p99},
          {"stalled", o.stalled},
          {"refused_or_left", o.refused + o.left}};
}

std::vector<Run> EachPolicy(const Flags& flags, bool mixed, double load) {
  std::vector<Run> runs;
  for (const std::string& policy : flags.policies) {
    Run& run = runs.emplace_back(flags.run);
    run.policy = policy;
    run.trace.mixed_sizes = mixed;
    run.trace.load = load;
  }
  return runs;
}

// Given loads only: a table for plots.
void RunLoads(const Flags& flags, const CostTable& table, nlohmann::json& result) {
  std::vector<Run> runs;
  for (const bool mixed : {false, true}) {
    for (double load : flags.loads) {
      for (Run& run : EachPolicy(flags, mixed, load)) runs.push_back(std::move(run));
    }
  }
  const std::vector<Outcome> outcomes = longtake::bench::SimulateAll(
      runs, table, flags.threads, [&](size_t i, const Outcome& outcome) { Print(runs[i], outcome); });
  for (size_t i = 0; i < runs.size(); ++i) result["runs"].push_back(Describe(runs[i], outcomes[i]));
}

void RunSearch(const Flags& flags, const CostTable& table, nlohmann::json& result) {
  std::vector<Run> searches = EachPolicy(flags, false, 0);
  for (Run& run : EachPolicy(flags, true, 0)) searches.push_back(std::move(run));
  const std::vector<double> found = longtake::bench::HighestLoads(searches, table, 0.99, flags.highest, flags.threads,
                                                                  [&](size_t i, double load, const Outcome& outcome) {
                                                                    Run run = searches[i];
                                                                    run.trace.load = load;
                                                                    run.simulation.needed_continuity = 0.99;
                                                                    Print(run, outcome);
                                                                  });
  double ours[2] = {};
  for (size_t i = 0; i < searches.size(); ++i) {
    const bool mixed = searches[i].trace.mixed_sizes;
    result["load_at_99"][mixed ? "mixed" : "equal"][searches[i].policy] = found[i];
    if (searches[i].policy == "ours") ours[mixed] = found[i];
  }
  std::vector<Run> runs = EachPolicy(flags, false, ours[0]);
  for (Run& run : EachPolicy(flags, true, ours[1])) runs.push_back(std::move(run));
  std::printf("every policy at the load that ours sustains:\n");
  const std::vector<Outcome> outcomes = longtake::bench::SimulateAll(
      runs, table, flags.threads, [&](size_t i, const Outcome& outcome) { Print(runs[i], outcome); });
  double leftover = 1, kept = 1, ratio = 0;
  for (size_t i = 0; i < runs.size(); ++i) {
    const Outcome& outcome = outcomes[i];
    result["continuity_at_our_load"][runs[i].trace.mixed_sizes ? "mixed" : "equal"][runs[i].policy] =
        outcome.continuity();
    if (runs[i].policy != "ours") continue;
    leftover = std::min(leftover, outcome.offline_of_leftover);
    kept = std::min(kept, static_cast<double>(outcome.quotes_kept) / std::max(1, outcome.quotes));
    ratio = std::max(ratio, outcome.quote_over_actual_p50);
  }
  result["offline_of_leftover"] = leftover;
  result["quote_kept"] = kept;
  result["quote_over_actual_p50"] = ratio;
}

}  // namespace

int main(int argc, char** argv) {
  Flags flags;
  CLI::App app("Simulates viewers of one device under several policies.", "longtake-serving");
  app.add_option("--table", flags.table, "cpu_tiny, h100_2b or h200_2b")->capture_default_str();
  app.add_option("--policy", flags.policies, "Policies to run")->check(CLI::IsMember(longtake::bench::PolicyNames()));
  app.add_option("--arrivals", flags.run.trace.arrivals, "How visitors come; all: a third of them in each way")
      ->check(CLI::IsMember({"all", "poisson", "bursty", "daily"}))
      ->capture_default_str();
  app.add_option("--sessions", flags.run.trace.sessions, "Of each policy, trace and load")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--seed", flags.run.trace.seed, "Of the trace")->capture_default_str();
  app.add_option("--loads", flags.loads, "Run these loads (offered live video / saturated rate); do not search");
  app.add_option("--max-live-load", flags.run.simulation.max_live_load, "Admission's limit")->capture_default_str();
  app.add_option("--lead-high", flags.run.simulation.lead_high, "Seconds ahead at which a stream rests")
      ->capture_default_str();
  app.add_option("--lead-low", flags.run.simulation.lead_low, "Until its lead is this")->capture_default_str();
  app.add_option("--max-wait", flags.run.simulation.max_wait, "Who would wait longer is refused; seconds")
      ->capture_default_str();
  app.add_option("--threads", flags.threads, "Runs at a time")->check(CLI::PositiveNumber)->capture_default_str();
  app.add_flag("!--no-tick", flags.tick, "Leave the cost of a tick out");
  CLI11_PARSE(app, argc, argv);
  const CostTable* table = longtake::bench::FindTable(flags.table);
  if (table == nullptr) {
    std::fprintf(stderr, "--table: there is no table %s\n", flags.table.c_str());
    return 1;
  }

  nlohmann::json result = {
      {"sessions", flags.run.trace.sessions}, {"table", flags.table}, {"arrivals", flags.run.trace.arrivals}};
  if (flags.tick) {
    for (int sessions : {100, 1000, 10'000}) {
      const double us = longtake::bench::TickMicroseconds(sessions);
      std::printf("tick with %d sessions: %.1f us\n", sessions, us);
      result["tick_us_" + std::to_string(sessions)] = us;
    }
  }
  flags.loads.empty() ? RunSearch(flags, *table, result) : RunLoads(flags, *table, result);
  std::printf("%s\n", result.dump().c_str());
}
