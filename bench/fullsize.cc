// longtake-fullsize: loads a model folder and makes a video of it, block after block, one pass at a time.
//
//   longtake-fullsize --model DIR [--dtype auto] [--latents 1] [--weight-cache DIR] [--load-only]
//
// Prints what loading and each pass took, and the memory of each region against the plan. Exit 1 when any pass fails
// or the peak exceeds the plan by more than 15 %.
#include <chrono>
#include <cstdio>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
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

// Decodes the block's latent frames; returns how many video frames they gave.
absl::StatusOr<int> DecodeBlock(Engine& engine, SessionId id, Size size, int latents) {
  int frames = 0;
  double seconds = 0;
  for (int i = 0; i < latents; ++i) {
    ASSIGN_OR_RETURN(const TimedBatch batch, RunPasses(engine, {{.kind = PassKind::kDecode, .session = id}}));
    const DecodedFrames& decoded = batch.results.front().frames;
    if (decoded.size != size) return absl::InternalError("a frame is not of the session's size");
    frames += decoded.count;
    seconds += batch.seconds;
    std::printf("\rdecode %2d of %2d        %9.2f s", i + 1, latents, seconds);
    std::fflush(stdout);
  }
  std::printf("   %d frames\n", frames);
  return frames;
}

absl::Status RunBlock(Engine& engine, SessionId id, Size size, int* frames) {
  ASSIGN_OR_RETURN(const SessionProgress progress, engine.progress(id));
  std::printf("block %d: %d latent frames\n", progress.block, progress.block_frames);
  for (int step = 0; step < engine.model().denoise_steps; ++step) {
    RETURN_IF_ERROR(RunPass(engine, {.kind = PassKind::kDenoise, .session = id}, "denoise, one step").status());
  }
  RETURN_IF_ERROR(RunPass(engine, {.kind = PassKind::kCommit, .session = id}, "commit").status());
  ASSIGN_OR_RETURN(const int decoded, DecodeBlock(engine, id, size, progress.block_frames));
  *frames += decoded;
  return absl::OkStatus();
}

absl::Status Run(const EngineOptions& options, int latents, bool load_only) {
  PeakMemory memory;
  const auto begin = Clock::now();
  ASSIGN_OR_RETURN(const std::unique_ptr<Engine> engine, Engine::Load(options));
  std::printf("\n%-22s%9.2f s   %s\n", "load", SecondsSince(begin), engine->model().numerics_id.c_str());

  if (load_only) return absl::OkStatus();
  const Size size = engine->model().sizes.front();
  ASSIGN_OR_RETURN(const SessionId id, engine->OpenSession({size, latents, /*seed=*/1}));
  RETURN_IF_ERROR(
      RunPass(*engine, {PassKind::kEncodePrompt, id, "a red boat on the sea", ""}, "encode prompt").status());
  int frames = 0;
  const size_t blocks = engine->BlockLengths(latents, /*first_image=*/false).size();
  for (size_t block = 0; block < blocks; ++block) RETURN_IF_ERROR(RunBlock(*engine, id, size, &frames));
  const int expected = 1 + (latents - 1) * engine->model().frames_per_latent;
  if (frames != expected) {
    return absl::InternalError(absl::StrCat(latents, " latent frames gave ", frames, " frames, not ", expected));
  }
  std::printf("%d frames of %dx%d\n\n", frames, size.width, size.height);

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
  int latents = 1;
  CLI::App app("Loads a model folder and makes a video of it, one pass at a time.");
  app.add_option("--model", options.model_dir)->required();
  app.add_option("--dtype", options.dtype)->capture_default_str();
  app.add_option("--weight-cache", options.weight_cache_dir, "folder that keeps packed weights");
  app.add_option("--latents", latents, "latent frames to make")->check(CLI::PositiveNumber)->capture_default_str();
  bool load_only = false;
  app.add_flag("--load-only", load_only, "ends when the model is loaded");
  CLI11_PARSE(app, argc, argv);
  int shown = -1;
  options.progress = [&shown](const std::string& what, uint64_t done, uint64_t total) {
    const int percent = total == 0 ? 100 : static_cast<int>(100 * done / total);
    if (percent == shown) return;
    shown = percent;
    std::fprintf(stderr, "\rloading %3d %%  %-40s", percent, what.c_str());
  };
  if (const absl::Status status = longtake::Run(options, latents, load_only); !status.ok()) {
    std::fprintf(stderr, "\nlongtake-fullsize: %s\n", std::string(status.message()).c_str());
    return 1;
  }
  return 0;
}
