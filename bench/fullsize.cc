// longtake-fullsize: loads a model folder and makes its first block of one latent frame, every stage once.
//
//   longtake-fullsize --model DIR [--dtype auto] [--steps 1]
//
// Prints what loading and each stage took, and the memory of each region against the plan. Exit 1 when any stage fails
// or the peak exceeds the plan by more than 15 %.
#include <chrono>
#include <cstdio>

#include "CLI/CLI.hpp"
#include "bench/peak_memory.h"
#include "bench/run_passes.h"
#include "common/status_macros.h"
#include "engine/engine.h"

namespace longtake {
namespace {

using Clock = std::chrono::steady_clock;
constexpr double kMib = 1024.0 * 1024.0;
constexpr double kPeakOverPlan = 1.15;

double SecondsSince(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

absl::StatusOr<PassResult> RunPass(Engine& engine, const Pass& pass, const char* name) {
  std::printf("%-22s", name);
  std::fflush(stdout);
  ASSIGN_OR_RETURN(TimedBatch batch, RunPasses(engine, {pass}));
  std::printf("%9.2f s\n", batch.seconds);
  return std::move(batch.results.front());
}

absl::Status Run(const EngineOptions& options) {
  PeakMemory memory;
  const auto begin = Clock::now();
  ASSIGN_OR_RETURN(const std::unique_ptr<Engine> engine, Engine::Load(options));
  std::printf("\n%-22s%9.2f s   %s\n", "load", SecondsSince(begin), engine->model().numerics_id.c_str());

  const Size size = engine->model().sizes.front();
  ASSIGN_OR_RETURN(const SessionId id, engine->OpenSession({size, /*latent_frames=*/1, /*seed=*/1}));
  RETURN_IF_ERROR(
      RunPass(*engine, {PassKind::kEncodePrompt, id, "a red boat on the sea", ""}, "encode prompt").status());
  for (int step = 0; step < engine->model().denoise_steps; ++step) {
    RETURN_IF_ERROR(RunPass(*engine, {.kind = PassKind::kDenoise, .session = id}, "denoise, one step").status());
  }
  RETURN_IF_ERROR(RunPass(*engine, {.kind = PassKind::kCommit, .session = id}, "commit").status());
  ASSIGN_OR_RETURN(const PassResult decoded,
                   RunPass(*engine, {.kind = PassKind::kDecode, .session = id}, "decode one latent frame"));
  std::printf("%d frame of %dx%d, %zu bytes\n\n", decoded.frames.count, decoded.frames.size.width,
              decoded.frames.size.height, decoded.frames.bytes.size());
  if (decoded.frames.count != 1 || decoded.frames.size != size) {
    return absl::InternalError("the first latent frame is not one video frame of the session's size");
  }

  uint64_t plan = 0;
  std::printf("%-16s%14s%14s\n", "region", "planned MiB", "used MiB");
  for (const MemoryRegion& region : engine->memory()) {
    std::printf("%-16s%14.1f%14.1f\n", region.name.c_str(), static_cast<double>(region.planned_bytes) / kMib,
                static_cast<double>(region.used_bytes) / kMib);
    plan += region.planned_bytes;
  }
  const double peak = static_cast<double>(memory.peak());
  std::printf("%-16s%14.1f\n%-16s%28.1f   %.3f of the plan\n", "sum", static_cast<double>(plan) / kMib, "peak",
              peak / kMib, peak / static_cast<double>(plan));
  if (peak > kPeakOverPlan * static_cast<double>(plan)) {
    return absl::ResourceExhaustedError("the peak exceeds the plan by more than 15 %");
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace longtake

int main(int argc, char** argv) {
  longtake::EngineOptions options;
  options.max_sessions = 1;
  CLI::App app("Loads a model folder and makes one latent frame, every stage once.");
  app.add_option("--model", options.model_dir)->required();
  app.add_option("--dtype", options.dtype)->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  int shown = -1;
  options.progress = [&shown](const std::string& what, uint64_t done, uint64_t total) {
    const int percent = total == 0 ? 100 : static_cast<int>(100 * done / total);
    if (percent == shown) return;
    shown = percent;
    std::fprintf(stderr, "\rloading %3d %%  %-40s", percent, what.c_str());
  };
  if (const absl::Status status = longtake::Run(options); !status.ok()) {
    std::fprintf(stderr, "\nlongtake-fullsize: %s\n", std::string(status.message()).c_str());
    return 1;
  }
  return 0;
}
