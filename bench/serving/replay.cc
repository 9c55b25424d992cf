// longtake-replay: the viewers of `longtake loadtest --rate R --seed S`, simulated. The options that both have mean the
// same, so that the two reports can be compared (bench/calibrate.py). The last line is JSON.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bench/serving/policies.h"
#include "bench/serving/simulation.h"
#include "clients/cli/load/visits.h"
#include "common/percentile.h"

namespace longtake::bench {
namespace {

// A server that is measured has seen each kind of pass: a few short videos come before the viewers that count.
constexpr int kWarmVideos = 6;
constexpr double kWarmSeconds = 60;

std::vector<Visitor> TraceOf(const std::vector<client::Visit>& visits) {
  std::vector<Visitor> trace;
  for (int i = 0; i < kWarmVideos; ++i) {
    trace.push_back({.arrives = i / 2.0, .seconds = 2, .patience = client::kPatience});
  }
  for (const client::Visit& visit : visits) {
    trace.push_back({.arrives = kWarmSeconds + visit.arrives,
                     .seconds = visit.seconds,
                     .live = !visit.offline,
                     .patience = visit.patience,
                     .slow = visit.slow});
  }
  return trace;
}

// Names and meanings as in the load generator's report.
nlohmann::json Report(const std::vector<Visitor>& trace, const Outcome& outcome) {
  int live = 0, refused = 0, left = 0, judged = 0, smooth = 0, stalls = 0, quotes = 0, kept = 0;
  double stall_seconds = 0;
  std::vector<double> first, quoted_over_actual;
  for (size_t i = kWarmVideos; i < trace.size(); ++i) {
    const Visit& visit = outcome.visits[i];
    refused += !visit.accepted;
    if (!trace[i].live) continue;
    ++live;
    left += visit.left;
    const double took = visit.first - trace[i].arrives;
    if (visit.first >= 0) first.push_back(took);
    if (visit.quoted >= 0 && visit.first >= 0) {
      ++quotes;
      kept += took <= visit.quoted;
      quoted_over_actual.push_back(visit.quoted / took);
    } else if (visit.quoted >= 0 && trace[i].patience > visit.quoted) {
      ++quotes;
    }
    if (!visit.accepted || visit.left) continue;
    ++judged;
    smooth += visit.stalls == 0;
    stalls += visit.stalls;
    stall_seconds += visit.stalled;
  }
  double sum = 0;
  for (double seconds : first) sum += seconds;
  nlohmann::json passes;
  for (const PassKind kind : kPassKinds) {
    const auto i = static_cast<size_t>(kind);
    passes[Name(kind)] = outcome.pass_seconds[i] / std::max(1, outcome.pass_count[i]);
  }
  return {{"pass_seconds", passes},
          {"viewers", trace.size() - kWarmVideos},
          {"live", live},
          {"refused", refused},
          {"left", left},
          {"first_chunk_s",
           {{"mean", first.empty() ? 0 : sum / static_cast<double>(first.size())},
            {"p50", Percentile(first, 0.5)},
            {"p95", Percentile(first, 0.95)},
            {"p99", Percentile(first, 0.99)}}},
          {"judged", judged},
          {"continuity", judged == 0 ? 1.0 : static_cast<double>(smooth) / judged},
          {"stalls", stalls},
          {"stall_s", stall_seconds},
          {"quotes", quotes},
          {"quote_kept", quotes == 0 ? 1.0 : static_cast<double>(kept) / quotes},
          {"quote_over_actual_p50", Percentile(quoted_over_actual, 0.5)},
          {"busy", outcome.busy_share}};
}

}  // namespace
}  // namespace longtake::bench

int main(int argc, char** argv) {
  using namespace longtake;
  std::string path;
  client::Mix mix;
  double rate = 1, duration = 60;
  uint64_t seed = 1;
  int runs = 5;
  bench::SimulationOptions options;
  CLI::App app("Simulates the viewers of a load test.", "longtake-replay");
  app.add_option("--table", path, "What passes take: a file of longtake-pass-times")->required();
  app.add_option("--rate", rate, "Arrivals a second")->check(CLI::PositiveNumber)->required();
  app.add_option("--duration", duration, "Seconds in which viewers come")->check(CLI::PositiveNumber);
  app.add_option("--seed", seed, "Of the viewers");
  app.add_option("--shortest", mix.shortest, "Shortest video, in seconds")->check(CLI::PositiveNumber);
  app.add_option("--longest", mix.longest, "Longest video")->check(CLI::PositiveNumber);
  app.add_option("--offline", mix.offline, "Share of requests that nobody watches")->check(CLI::Range(0.0, 1.0));
  app.add_option("--impatient", mix.impatient, "Share of viewers that leave early")->check(CLI::Range(0.0, 1.0));
  app.add_option("--patience", mix.patience, "After so many seconds")->check(CLI::PositiveNumber);
  app.add_option("--slow", mix.slow, "Share of viewers that read slowly")->check(CLI::Range(0.0, 1.0));
  app.add_option("--max-sessions", options.server.studio.max_sessions, "As the server's")->check(CLI::PositiveNumber);
  app.add_option("--max-waiting", options.server.studio.max_waiting, "As the server's")->check(CLI::NonNegativeNumber);
  app.add_option("--max-batch-passes", options.server.studio.max_batch_passes, "As the server's")
      ->check(CLI::PositiveNumber);
  app.add_option("--runs", runs, "With so many seeds of the machine's noise")->check(CLI::PositiveNumber);
  options.server.studio.max_sessions = server::StudioOptions().max_sessions;
  CLI11_PARSE(app, argc, argv);

  const auto table = bench::LoadTable(path);
  if (!table.ok()) {
    std::fprintf(stderr, "longtake-replay: %s\n", std::string(table.status().message()).c_str());
    return 1;
  }
  const std::vector<bench::Visitor> trace = bench::TraceOf(client::PoissonVisits(mix, rate, duration, seed));
  nlohmann::json result = nlohmann::json::array();
  for (int run = 0; run < runs; ++run) {
    options.server.seed = run + 1;
    const bench::Outcome outcome =
        bench::Simulate(trace, *table, options, bench::MakePolicy("ours", table->block_seconds()));
    result.push_back(bench::Report(trace, outcome));
  }
  std::printf("%s\n", result.dump().c_str());
}
