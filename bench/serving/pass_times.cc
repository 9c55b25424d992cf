// longtake-pass-times: what a batch of passes of several sessions takes on this machine, and the straight line through
// those times: the table of longtake-serving. The last line is JSON.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bench/run_passes.h"
#include "common/status_macros.h"
#include "engine/engine.h"

namespace longtake {
namespace {

const std::map<PassKind, std::string> kNames = {{PassKind::kEncodePrompt, "text"},
                                                {PassKind::kDenoise, "denoise"},
                                                {PassKind::kCommit, "commit"},
                                                {PassKind::kDecode, "decode"}};

// Wall seconds of one batch with a pass of each session.
absl::StatusOr<double> RunBatch(Engine& engine, PassKind kind, const std::vector<SessionId>& sessions) {
  std::vector<Pass> passes;
  for (SessionId id : sessions) {
    passes.push_back({.kind = kind, .session = id});
    if (kind == PassKind::kEncodePrompt) passes.back().prompt = "a red boat on a blue lake under a yellow sun";
  }
  ASSIGN_OR_RETURN(const TimedBatch batch, RunPasses(engine, std::move(passes)));
  return batch.seconds;
}

// Least seconds by kind and number of sessions.
using Times = std::map<PassKind, std::map<int, double>>;

// Two blocks of so many sessions in step; the second is measured: its attention has a state to read, and the first
// block's first latent frame decodes to one frame where all others make frames_per_latent.
absl::Status Round(Engine& engine, int count, Times& best) {
  const ModelInfo& info = engine.model();
  std::vector<SessionId> sessions;
  for (int i = 0; i < count; ++i) {
    ASSIGN_OR_RETURN(const SessionId id,
                     engine.OpenSession({info.sizes.front(), 2 * info.block_latent_frames, static_cast<uint64_t>(i)}));
    sessions.push_back(id);
  }
  const auto run = [&](PassKind kind, int times, bool measured) -> absl::Status {
    for (int i = 0; i < times; ++i) {
      ASSIGN_OR_RETURN(const double seconds, RunBatch(engine, kind, sessions));
      if (!measured) continue;
      double& least = best[kind].try_emplace(count, std::numeric_limits<double>::infinity()).first->second;
      least = std::min(least, seconds);
    }
    return absl::OkStatus();
  };
  RETURN_IF_ERROR(run(PassKind::kEncodePrompt, 1, /*measured=*/true));
  for (const bool second : {false, true}) {
    RETURN_IF_ERROR(run(PassKind::kDenoise, info.denoise_steps, second));
    RETURN_IF_ERROR(run(PassKind::kCommit, 1, second));
    RETURN_IF_ERROR(run(PassKind::kDecode, info.block_latent_frames, second));
  }
  for (SessionId id : sessions) engine.CloseSession(id);
  return absl::OkStatus();
}

// seconds = fixed + each * n through the least times, by least squares on relative errors.
struct Line {
  double fixed = 0, each = 0;
};
Line Fit(const std::map<int, double>& times) {
  double a = 0, b = 0, c = 0, d = 0, e = 0;  // normal equations of (fixed + each n) / seconds -> 1
  for (const auto& [n, seconds] : times) {
    const double x = 1 / seconds, y = n / seconds;
    a += x * x;
    b += x * y;
    c += y * y;
    d += x;
    e += y;
  }
  const double det = a * c - b * b;
  return {(d * c - e * b) / det, (a * e - b * d) / det};
}

absl::Status Run(const std::string& model, int rounds) {
  EngineOptions options;
  options.model_dir = model;
  options.max_sessions = 16;
  ASSIGN_OR_RETURN(const std::unique_ptr<Engine> engine, Engine::Load(options));
  Times best;
  for (int round = 0; round < rounds; ++round) {
    for (int count : {1, 2, 4, 8, 16}) RETURN_IF_ERROR(Round(*engine, count, best));
  }
  const int latents = engine->model().block_latent_frames;
  nlohmann::json result = {{"numerics_id", engine->model().numerics_id}, {"steps", engine->model().denoise_steps}};
  for (const auto& [kind, times] : best) {
    const Line line = Fit(times);
    const double per_latent = line.each / (kind == PassKind::kDenoise || kind == PassKind::kCommit ? latents : 1);
    const std::string& name = kNames.at(kind);
    for (const auto& [count, seconds] : times) {
      std::printf("%-7s of %2d sessions: %8.3f ms, %8.1f passes/s\n", name.c_str(), count, 1e3 * seconds,
                  count / seconds);
      result["seconds"][name][std::to_string(count)] = seconds;
    }
    result["table"][name] = {{"fixed", line.fixed}, {"each_latent", per_latent}};
  }
  std::printf("%s\n", result.dump().c_str());
  return absl::OkStatus();
}

}  // namespace
}  // namespace longtake

int main(int argc, char** argv) {
  std::string model = "models/longtake-tiny";
  int rounds = 5;
  CLI::App app("Measures batches of passes over 1 to 16 sessions.", "longtake-pass-times");
  app.add_option("--model", model, "Model folder")->capture_default_str();
  app.add_option("--rounds", rounds)->check(CLI::Range(1, 1000))->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  if (const absl::Status status = longtake::Run(model, rounds); !status.ok()) {
    std::fprintf(stderr, "longtake-pass-times: %s\n", std::string(status.message()).c_str());
    return 1;
  }
}
