// longtake-bench-passes: transformer passes a second, batched over 1, 2, 4, 8, 16 sessions, through the engine.
//
//   longtake-bench-passes --model DIR [--sessions 1,2,4,8,16] [--seconds 1.5] [--rounds 5]
//
// Sessions stand side by side in a video that never ends for the benchmark, so that each pass has the tokens and the
// state of a stream in full flow: all denoising passes and the commit of a block, each as one Submit of as many passes
// as there are sessions. Decoding, which must come between, is not timed. The counts take turns in each round; the last
// line is JSON with the median of the rounds.
//
// "one_at_a_time" is what batching is compared with: as many sessions as the largest count, each pass a Submit of its
// own.
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "bench/run_passes.h"
#include "common/status_macros.h"
#include "engine/engine.h"
#include "nlohmann/json.hpp"

namespace longtake {
namespace {

double SecondsOf(clockid_t clock) {
  timespec now = {};
  clock_gettime(clock, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

struct Arguments {
  std::string model, dtype = "auto", isa = "auto";
  std::vector<int> sessions = {1, 2, 4, 8, 16};
  int threads = 0, rounds = 5;
  double seconds = 1.5;
  bool cpu_time = false;
};

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

class Streams {
 public:
  static absl::StatusOr<std::unique_ptr<Streams>> Open(Engine& engine, int count, clockid_t clock) {
    auto streams = std::unique_ptr<Streams>(new Streams(engine, clock));
    for (int i = 0; i < count; ++i) {
      ASSIGN_OR_RETURN(const SessionId id, engine.OpenSession({.size = engine.model().sizes.front(),
                                                               .latent_frames = engine.model().max_latent_frames,
                                                               .seed = static_cast<uint64_t>(i)}));
      streams->ids_.push_back(id);
      RETURN_IF_ERROR(streams->Run({{PassKind::kEncodePrompt, id, absl::StrCat("a red ball ", i), ""}}).status());
    }
    return streams;
  }
  ~Streams() {
    for (SessionId id : ids_) engine_.CloseSession(id);
  }

  // One block of each; returns its transformer passes' seconds.
  absl::StatusOr<double> Block(bool together) {
    double seconds = 0;
    for (int step = 0; step <= engine_.model().denoise_steps; ++step) {
      const PassKind kind = step < engine_.model().denoise_steps ? PassKind::kDenoise : PassKind::kCommit;
      ASSIGN_OR_RETURN(const double more, All(kind, together));
      seconds += more;
    }
    for (SessionId id : ids_) {
      for (absl::StatusOr<SessionProgress> at = engine_.progress(id); at->decoded_latents < at->committed_frames;
           at = engine_.progress(id)) {
        RETURN_IF_ERROR(Run({{PassKind::kDecode, id, "", ""}}).status());
      }
    }
    return seconds;
  }
  int passes_a_block() const { return static_cast<int>(ids_.size()) * (engine_.model().denoise_steps + 1); }

 private:
  Streams(Engine& engine, clockid_t clock) : engine_(engine), clock_(clock) {}

  absl::StatusOr<double> All(PassKind kind, bool together) {
    std::vector<Pass> passes;
    for (SessionId id : ids_) passes.push_back({.kind = kind, .session = id});
    if (together) return Run(std::move(passes));
    double seconds = 0;
    for (const Pass& pass : passes) {
      ASSIGN_OR_RETURN(const double more, Run({pass}));
      seconds += more;
    }
    return seconds;
  }

  absl::StatusOr<double> Run(std::vector<Pass> passes) {
    const double begin = SecondsOf(clock_);
    RETURN_IF_ERROR(RunPasses(engine_, std::move(passes)).status());
    return SecondsOf(clock_) - begin;
  }

  Engine& engine_;
  const clockid_t clock_;
  std::vector<SessionId> ids_;
};

// Passes a second of `count` sessions.
absl::StatusOr<double> Measure(Engine& engine, int count, bool together, const Arguments& a) {
  const clockid_t clock = a.cpu_time ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC;
  ASSIGN_OR_RETURN(const std::unique_ptr<Streams> streams, Streams::Open(engine, count, clock));
  // The first block is longer, and the state's window is full after a few.
  for (int i = 0; i < 3; ++i) RETURN_IF_ERROR(streams->Block(together).status());
  double timed = 0;
  int64_t passes = 0;
  while (timed < a.seconds) {
    ASSIGN_OR_RETURN(const double more, streams->Block(together));
    timed += more;
    passes += streams->passes_a_block();
  }
  return static_cast<double>(passes) / timed;
}

absl::Status Run(const Arguments& a) {
  EngineOptions options;
  options.model_dir = a.model;
  options.dtype = a.dtype;
  options.isa = a.isa;
  options.threads = a.threads;
  options.max_sessions = *std::max_element(a.sessions.begin(), a.sessions.end());
  ASSIGN_OR_RETURN(const std::unique_ptr<Engine> engine, Engine::Load(options));
  if (engine->model().block_latent_frames == 0) {
    return absl::InvalidArgumentError("model: is not block-causal, so its streams cannot go on");
  }
  std::map<int, std::vector<double>> rates;
  std::vector<double> alone;
  for (int round = 0; round < a.rounds; ++round) {
    for (int count : a.sessions) {
      ASSIGN_OR_RETURN(const double rate, Measure(*engine, count, true, a));
      rates[count].push_back(rate);
      std::fprintf(stderr, "round %d, %2d sessions in one batch: %.1f passes/s\n", round + 1, count, rate);
    }
    ASSIGN_OR_RETURN(const double rate, Measure(*engine, options.max_sessions, false, a));
    alone.push_back(rate);
    std::fprintf(stderr, "round %d, %2d sessions one at a time: %.1f passes/s\n", round + 1, options.max_sessions,
                 rate);
  }
  nlohmann::json medians;
  for (const auto& [count, values] : rates) medians[absl::StrCat(count)] = Median(values);
  const nlohmann::json line = {{"passes_per_s", medians},
                               {"one_at_a_time", Median(alone)},
                               {"rounds", a.rounds},
                               {"numerics_id", engine->model().numerics_id}};
  std::printf("%s\n", line.dump().c_str());
  return absl::OkStatus();
}

}  // namespace
}  // namespace longtake

int main(int argc, char** argv) {
  longtake::Arguments a;
  CLI::App app("Transformer passes a second, batched over several sessions.");
  app.add_option("--model", a.model, "Model folder with longtake.json")->required();
  app.add_option("--dtype", a.dtype)->capture_default_str();
  app.add_option("--isa", a.isa)->capture_default_str();
  app.add_option("--threads", a.threads, "0: one for each core")->capture_default_str();
  app.add_option("--sessions", a.sessions, "Sessions of a batch")->delimiter(',')->check(CLI::Range(1, 4096));
  app.add_option("--seconds", a.seconds, "Of timed work in each round")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--rounds", a.rounds)->check(CLI::Range(1, 1000))->capture_default_str();
  app.add_flag("--cpu-time", a.cpu_time,
               "Processor time of all threads, not the clock's: on a machine that others use");
  CLI11_PARSE(app, argc, argv);
  if (const absl::Status status = longtake::Run(a); !status.ok()) {
    std::fprintf(stderr, "longtake-bench-passes: %s\n", std::string(status.message()).c_str());
    return 1;
  }
  return 0;
}
