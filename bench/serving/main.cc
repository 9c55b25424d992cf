// longtake-serving: the scheduler under simulated viewers. Compares policies, machines and the cost of a tick; the last
// line is JSON.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>
#include <thread>

#include "bench/serving/policies.h"
#include "bench/serving/search.h"
#include "bench/serving/statistics.h"
#include "bench/serving/tick.h"

namespace longtake::bench {
namespace {

constexpr double kNeeded = 0.99;

struct Flags {
  std::string table = "bench/serving/tables/cpu_tiny.json", large_table = "bench/serving/tables/h200_2b.json";
  std::vector<std::string> parts = {"tick", "policies", "overload", "machines"};
  std::vector<std::string> policies = PolicyNames();
  std::vector<double> loads;
  Run run;
  int seeds = 5;
  int threads = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  bool quick = false;
};

const std::map<std::string, Lanes> kLanes = {
    {"one", Lanes::kOne}, {"barrier", Lanes::kBarrier}, {"overlapping", Lanes::kOverlapping}};

// One figure of an outcome.
struct Figure {
  const char* name;
  const char* format;
  double (*of)(const Outcome&);
};
constexpr Figure kFigures[] = {
    {"continuity", "%.4f", [](const Outcome& o) { return o.continuity(); }},
    {"of_admitted", "%.4f", [](const Outcome& o) { return o.continuity_of_admitted(); }},
    {"first_p50_s", "%.3f", [](const Outcome& o) { return o.first_p50; }},
    {"first_p95_s", "%.3f", [](const Outcome& o) { return o.first_p95; }},
    {"first_p99_s", "%.2f", [](const Outcome& o) { return o.first_p99; }},
    {"quotes_kept", "%.4f", [](const Outcome& o) { return o.quotes_kept_share(); }},
    {"quote_over_actual", "%.2f", [](const Outcome& o) { return o.quote_over_actual_p50; }},
    {"refused", "%.4f", [](const Outcome& o) { return static_cast<double>(o.refused) / std::max(1, o.live); }},
    {"left", "%.4f", [](const Outcome& o) { return static_cast<double>(o.left) / std::max(1, o.live); }},
    {"late", "%.4f", [](const Outcome& o) { return static_cast<double>(o.late) / std::max(1, o.live); }},
    {"stalled", "%.4f", [](const Outcome& o) { return static_cast<double>(o.stalled) / std::max(1, o.live); }},
    {"busy", "%.3f", [](const Outcome& o) { return o.busy_share; }},
    {"video_s_per_s", "%.2f", [](const Outcome& o) { return o.video_seconds; }},
    {"passes_per_batch", "%.2f", [](const Outcome& o) { return o.passes_per_batch; }},
    {"prediction_error", "%.3f", [](const Outcome& o) { return o.prediction_error; }},
};

std::string Text(const char* format, double value) {
  char text[32];
  std::snprintf(text, sizeof(text), format, value);
  return text;
}

std::string Text(const char* format, const Interval& interval) {
  return Text(format, interval.mean) + " ± " + Text(format, interval.half);
}

class Experiments {
 public:
  Experiments(Flags flags, PassTable table, PassTable large)
      : flags_(std::move(flags)), table_(std::move(table)), large_(std::move(large)) {}

  nlohmann::json Run() {
    const auto wanted = [&](const char* part) {
      return std::find(flags_.parts.begin(), flags_.parts.end(), part) != flags_.parts.end();
    };
    result_ = {{"sessions", flags_.run.trace.sessions}, {"seeds", flags_.seeds}, {"table", table_.name}};
    if (!flags_.loads.empty()) {
      for (double load : flags_.loads) AtLoad("load " + Text("%.2f", load), table_, flags_.run, load, "runs");
      return result_;
    }
    if (wanted("tick")) Tick();
    for (const bool mixed : {false, true}) {
      bench::Run base = flags_.run;
      base.trace.mixed_sizes = mixed;
      const std::string sizes = mixed ? "mixed" : "equal";
      if (wanted("policies")) Policies(base, sizes);
      if (wanted("overload")) AtLoad(sizes + " sizes, overload", table_, base, kOverload, "overload_" + sizes);
    }
    if (wanted("machines")) Machines();
    result_["seconds"] = std::lround(Elapsed());
    return result_;
  }

 private:
  static constexpr double kOverload = 2;

  double Elapsed() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - began_).count(); }

  void Say(const std::string& line) const { std::fprintf(stderr, "%5.0f s  %s\n", Elapsed(), line.c_str()); }

  void Tick() {
    for (int sessions : {100, 1000, 10'000}) {
      if (flags_.quick && sessions > 1000) continue;
      const double us = TickMicroseconds(sessions);
      std::printf("tick with %d sessions: %.1f us\n", sessions, us);
      result_["tick_us_" + std::to_string(sessions)] = us;
    }
  }

  // The same run for each seed.
  std::vector<bench::Run> Seeds(const bench::Run& base) const {
    std::vector<bench::Run> runs(flags_.seeds, base);
    for (int i = 0; i < flags_.seeds; ++i) runs[i].trace.seed = runs[i].simulation.server.seed = base.trace.seed + i;
    return runs;
  }

  // Highest loads of several kinds of runs, by seed.
  std::vector<std::vector<double>> Search(const std::vector<std::string>& names, const std::vector<bench::Run>& kinds,
                                          const PassTable& table, double highest) {
    std::vector<bench::Run> searches;
    for (const bench::Run& kind : kinds) {
      for (bench::Run& run : Seeds(kind)) searches.push_back(std::move(run));
    }
    size_t done = 0;
    const std::vector<double> found = HighestLoads(
        searches, table, kNeeded, highest, flags_.threads, [&](size_t i, double load, const Outcome& outcome) {
          Say(names[i / flags_.seeds] + ", seed " + std::to_string(searches[i].trace.seed) + ": load " +
              Text("%.2f", load) + (outcome.whole && outcome.continuity() >= kNeeded ? " holds" : " is too much") +
              " (run " + std::to_string(++done) + ")");
        });
    std::vector<std::vector<double>> loads;
    for (size_t i = 0; i < kinds.size(); ++i) {
      loads.emplace_back(found.begin() + static_cast<std::ptrdiff_t>(i * flags_.seeds),
                         found.begin() + static_cast<std::ptrdiff_t>((i + 1) * flags_.seeds));
    }
    return loads;
  }

  std::vector<bench::Run> EachPolicy(const bench::Run& base) const {
    std::vector<bench::Run> runs;
    for (const std::string& policy : flags_.policies) {
      bench::Run& run = runs.emplace_back(base);
      run.policy = policy;
    }
    return runs;
  }

  void Policies(const bench::Run& base, const std::string& sizes) {
    const auto loads = Search(flags_.policies, EachPolicy(base), table_, flags_.quick ? 1 : 1.2);
    std::printf("%s sizes: highest load with continuity of %.2f, and the difference to %s\n", sizes.c_str(), kNeeded,
                flags_.policies[0].c_str());
    for (size_t i = 0; i < loads.size(); ++i) {
      const Interval mean = MeanOf(loads[i]), difference = Difference(loads[i], loads[0]);
      std::printf("  %-18s %s   %s %s\n", flags_.policies[i].c_str(), Text("%.3f", mean).c_str(),
                  i == 0 ? "" : Text("%+.3f", difference).c_str(),
                  i == 0                       ? ""
                  : difference.excludes_zero() ? "significant"
                                               : "not significant");
      result_["load_at_99_" + sizes][flags_.policies[i]] = loads[i];
    }
    const double load = std::floor(100 * MeanOf(loads[0]).mean) / 100;
    AtLoad(sizes + " sizes, at the load that " + flags_.policies[0] + " sustains, " + Text("%.2f", load), table_, base,
           load, "at_our_load_" + sizes);
  }

  // Every policy and seed at one load.
  void AtLoad(const std::string& title, const PassTable& table, bench::Run base, double load, const std::string& key) {
    base.trace.load = load;
    std::vector<bench::Run> runs;
    for (const bench::Run& kind : EachPolicy(base)) {
      for (bench::Run& run : Seeds(kind)) runs.push_back(std::move(run));
    }
    const std::vector<Outcome> outcomes =
        SimulateAll(runs, table, flags_.threads, [&](size_t i, const Outcome& outcome) {
          Say(title + ": " + runs[i].policy + ", seed " + std::to_string(runs[i].trace.seed) + ": continuity " +
              Text("%.4f", outcome.continuity()));
        });
    std::printf("%s; *: differs significantly from %s\n", title.c_str(), flags_.policies[0].c_str());
    std::vector<std::vector<double>> ours;
    for (size_t policy = 0; policy < flags_.policies.size(); ++policy) {
      std::printf("  %s:", flags_.policies[policy].c_str());
      for (size_t f = 0; f < std::size(kFigures); ++f) {
        std::vector<double> values;
        for (int i = 0; i < flags_.seeds; ++i) values.push_back(kFigures[f].of(outcomes[policy * flags_.seeds + i]));
        if (policy == 0) ours.push_back(values);
        const bool differs = policy > 0 && Difference(values, ours[f]).excludes_zero();
        std::printf(" %s %s%s,", kFigures[f].name, Text(kFigures[f].format, MeanOf(values)).c_str(),
                    differs ? "*" : "");
        result_[key][flags_.policies[policy]][kFigures[f].name] = values;
      }
      std::printf("\n");
    }
    std::fflush(stdout);
  }

  // One device or two, lanes in turn or beside each other: what the same scheduler sustains, and makes when it is
  // asked for more than it can.
  void Machines() {
    struct Kind {
      const char* name;
      int devices;
      Lanes lanes;
    };
    constexpr Kind kKinds[] = {{"one lane", 1, Lanes::kOne},
                               {"barrier", 1, Lanes::kBarrier},
                               {"overlapping lanes", 1, Lanes::kOverlapping},
                               {"two devices, one lane each", 2, Lanes::kOne},
                               {"two devices, overlapping lanes", 2, Lanes::kOverlapping}};
    std::vector<bench::Run> searches, saturated;
    std::vector<std::string> names;
    for (const Kind& kind : kKinds) {
      bench::Run run = flags_.run;
      run.simulation.server.devices = kind.devices;
      run.simulation.server.lanes = kind.lanes;
      searches.push_back(run);
      names.emplace_back(kind.name);
      run.trace.live_share = 0;
      run.trace.load = 4;
      run.trace.sessions = std::max(50, run.trace.sessions / 5);
      for (bench::Run& seed : Seeds(run)) saturated.push_back(std::move(seed));
    }
    const auto loads = Search(names, searches, large_, 4);
    const std::vector<Outcome> full = SimulateAll(saturated, large_, flags_.threads, [](size_t, const Outcome&) {});
    std::printf(
        "%s, ours: highest load with continuity of %.2f, over that of one lane; seconds of video a second when "
        "saturated by offline requests, over those of one lane\n",
        large_.name.c_str(), kNeeded);
    std::vector<std::vector<double>> made;
    for (size_t i = 0; i < names.size(); ++i) {
      std::vector<double>& rates = made.emplace_back();
      for (int seed = 0; seed < flags_.seeds; ++seed) rates.push_back(full[i * flags_.seeds + seed].video_seconds);
      std::printf("  %-32s %s  x %s   %s  x %s\n", names[i].c_str(), Text("%.3f", MeanOf(loads[i])).c_str(),
                  Text("%.2f", Ratio(loads[i], loads[0])).c_str(), Text("%.2f", MeanOf(rates)).c_str(),
                  Text("%.2f", Ratio(rates, made[0])).c_str());
      result_["machines"][names[i]] = {{"load_at_99", loads[i]}, {"saturated_video_s_per_s", rates}};
    }
    const Interval two = Ratio(loads[4], loads[2]);
    std::printf("  two devices over one, overlapping lanes: x %s\n", Text("%.2f", two).c_str());
    std::fflush(stdout);
  }

  const Flags flags_;
  const PassTable table_, large_;
  const std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
  nlohmann::json result_;
};

}  // namespace
}  // namespace longtake::bench

int main(int argc, char** argv) {
  using longtake::bench::PassTable;
  longtake::bench::Flags flags;
  flags.run.trace.sessions = 500;
  CLI::App app("Simulates viewers of the scheduler under several policies and on several machines.",
               "longtake-serving");
  app.add_option("--table", flags.table, "What passes take, of the policies' device")->capture_default_str();
  app.add_option("--large-table", flags.large_table, "The same of the devices that are compared")
      ->capture_default_str();
  app.add_option("--part", flags.parts, "What to run")
      ->check(CLI::IsMember({"tick", "policies", "overload", "machines"}))
      ->capture_default_str();
  app.add_option("--policy", flags.policies, "Policies; the others are compared with the first")
      ->check(CLI::IsMember(longtake::bench::PolicyNames()))
      ->capture_default_str();
  app.add_option("--loads", flags.loads, "Run these loads on --table, and nothing else");
  app.add_option("--sessions", flags.run.trace.sessions, "Of each run")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--seed", flags.run.trace.seed, "The first of them")->capture_default_str();
  app.add_option("--seeds", flags.seeds, "Runs of each kind")->check(CLI::Range(1, 100))->capture_default_str();
  app.add_option("--devices", flags.run.simulation.server.devices, "With --loads")->check(CLI::PositiveNumber);
  app.add_option("--lanes", flags.run.simulation.server.lanes, "With --loads")
      ->transform(CLI::CheckedTransformer(longtake::bench::kLanes));
  app.add_option("--arrivals", flags.run.trace.arrivals, "How visitors come; all: a third of them in each way")
      ->check(CLI::IsMember({"all", "poisson", "bursty", "daily"}))
      ->capture_default_str();
  app.add_flag("--mixed", flags.run.trace.mixed_sizes, "With --loads: three sizes");
  app.add_option("--max-sessions", flags.run.simulation.server.studio.max_sessions,
                 "As the server's; 0: the table's places");
  app.add_option("--max-waiting", flags.run.simulation.server.studio.max_waiting, "As the server's")
      ->capture_default_str();
  app.add_option("--max-live-load", flags.run.simulation.server.studio.max_live_load, "As the server's")
      ->capture_default_str();
  app.add_option("--encoders", flags.run.simulation.server.studio.encoder_threads, "Threads that encode")
      ->capture_default_str();
  app.add_option("--threads", flags.threads, "Runs at a time")->check(CLI::PositiveNumber)->capture_default_str();
  app.add_flag("--quick", flags.quick, "Shows that everything works, with figures that mean little");
  CLI11_PARSE(app, argc, argv);
  if (flags.quick) {
    flags.run.trace.sessions = 40;
    flags.seeds = 2;
    flags.policies = {"ours", "edf"};
  }
  PassTable tables[2];
  for (int i = 0; i < 2; ++i) {
    auto table = longtake::bench::LoadTable(i == 0 ? flags.table : flags.large_table);
    if (!table.ok()) {
      std::fprintf(stderr, "longtake-serving: %s\n", std::string(table.status().message()).c_str());
      return 1;
    }
    tables[i] = *std::move(table);
  }
  const nlohmann::json result = longtake::bench::Experiments(flags, tables[0], tables[1]).Run();
  std::printf("%s\n", result.dump().c_str());
}
