// longtake-bench: times one kind of pass through the engine, alternating with oneDNN's matrix product on the same
// shapes.
//
//   longtake-bench --case transformer|vae|ltx2|text|tiny_decoder --model DIR [--dtype auto] [--rounds 5] [--no-gemm]
//   [--profile]
//
// transformer: one denoising pass of the folder's first block; vae, ltx2: a block's latent frames to video frames;
// text: a prompt that fills the caption; tiny_decoder: the same latent frames by the tiny decoder, and in turns with it
// by the full one (`full_seconds`) instead of oneDNN. Prints one line of JSON; times are the best of all rounds, in
// seconds. Memory is counted from before the engine is made: its peak while loading, and after. With --profile a table
// of operations, the mean of all rounds, goes to the standard error stream.
#include <cstdio>
#include <fstream>
#include <limits>
#include <memory>
#include <utility>

#include "CLI/CLI.hpp"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "bench/dense_shapes.h"
#include "bench/onednn_gemm.h"
#include "bench/operation_profile.h"
#include "bench/peak_memory.h"
#include "bench/run_passes.h"
#include "common/status_macros.h"
#include "engine/engine.h"
#include "engine/runtime/load.h"
#include "nlohmann/json.hpp"

namespace longtake {
namespace {

struct Arguments {
  std::string measured, model;
  std::string dtype = "auto", text_dtype = "auto", isa = "auto";
  int rounds = 5, latent_frames = 1, threads = 0;
  bool no_gemm = false, profile = false;
};

constexpr char kTinyDecoder[] = "tiny_decoder";

// Seconds of one pass.
absl::StatusOr<double> RunPass(Engine& engine, const Pass& pass) {
  ASSIGN_OR_RETURN(const TimedBatch batch, RunPasses(engine, {pass}));
  return batch.seconds;
}

// One case: what to do before the measured passes of a round, and what is measured.
class Case {
 public:
  // `profile` sees what is measured only.
  Case(Engine& engine, const Arguments& a, const OperationProfile& profile)
      : engine_(engine), a_(a), profile_(profile) {}

  // Seconds of one measurement. A session lives for one measurement only, so that all begin alike.
  absl::StatusOr<double> Measure() {
    return Measure(a_.measured == kTinyDecoder ? DecoderKind::kTiny : DecoderKind::kFull);
  }
  absl::StatusOr<double> Measure(DecoderKind decoder) {
    const ModelInfo& info = engine_.model();
    ASSIGN_OR_RETURN(
        const SessionId id,
        engine_.OpenSession(
            {.size = info.sizes.front(), .latent_frames = a_.latent_frames, .seed = 1, .decoder = decoder}));
    absl::StatusOr<double> seconds = MeasureIn(id);
    profile_.Enable(false);
    engine_.CloseSession(id);
    return seconds;
  }

 private:
  absl::StatusOr<double> MeasureIn(SessionId id) {
    // More words than any caption holds: it is cut to the folder's length.
    std::string prompt;
    for (int i = 0; i < 700; ++i) absl::StrAppend(&prompt, i % 7 == 0 ? "boat " : "a red ");
    profile_.Enable(a_.measured == "text");
    ASSIGN_OR_RETURN(const double text, RunPass(engine_, {PassKind::kEncodePrompt, id, prompt, ""}));
    if (a_.measured == "text") return text;
    profile_.Enable(a_.measured == "transformer");
    ASSIGN_OR_RETURN(const double step, RunPass(engine_, {.kind = PassKind::kDenoise, .session = id}));
    if (a_.measured == "transformer") return step;
    for (int i = 1; i < engine_.model().denoise_steps; ++i) {
      RETURN_IF_ERROR(RunPass(engine_, {.kind = PassKind::kDenoise, .session = id}).status());
    }
    RETURN_IF_ERROR(RunPass(engine_, {.kind = PassKind::kCommit, .session = id}).status());
    profile_.Enable(true);
    double decoding = 0;
    for (int i = 0; i < a_.latent_frames; ++i) {
      ASSIGN_OR_RETURN(const double seconds, RunPass(engine_, {.kind = PassKind::kDecode, .session = id}));
      decoding += seconds;
    }
    return decoding;
  }

  Engine& engine_;
  const Arguments& a_;
  const OperationProfile& profile_;
};

absl::StatusOr<std::vector<DenseShape>> Shapes(const Arguments& a, Size size, int caption_tokens, int spatial_stride) {
  const int64_t height = size.height / spatial_stride, width = size.width / spatial_stride;
  if (a.measured == "transformer") {
    return TransformerShapes(a.model + "/transformer/config.json", a.latent_frames, height, width);
  }
  if (a.measured == "vae") return DecoderShapes(a.model + "/vae/config.json", a.latent_frames, height, width);
  if (a.measured == "ltx2") return Ltx2DecoderShapes(a.model + "/vae/config.json", a.latent_frames, height, width);
  return TextShapes(a.model + "/text_encoder/config.json", caption_tokens);
}

std::string IsaOf(const std::string& numerics_id) {
  for (const char* isa : {"amx_bf16", "avx512_bf16", "avx512_vnni", "avx512", "avx2"}) {
    if (absl::StrContains(numerics_id, isa)) return isa;
  }
  return numerics_id;
}

absl::Status Run(const Arguments& a) {
  PeakMemory memory;
  EngineOptions options;
  options.model_dir = a.model;
  options.dtype = a.dtype;
  options.text_dtype = a.text_dtype;
  options.isa = a.isa;
  options.threads = a.threads;
  options.max_sessions = 1;
  std::unique_ptr<Engine> engine;
  OperationProfile profile;
  if (a.profile) {  // an engine does not show its operations, so they are made here
    ASSIGN_OR_RETURN(PartOps parts, PartOps::Make(options, /*device=*/0));
    profile = OperationProfile(parts.distinct());
    ASSIGN_OR_RETURN(engine, LoadSlotEngine(options, std::move(parts), options.max_sessions));
  } else {
    ASSIGN_OR_RETURN(engine, Engine::Load(options));
  }
  const uint64_t loading_peak = memory.peak();
  memory.Restart();
  Case measured(*engine, a, profile);
  RETURN_IF_ERROR(measured.Measure().status());  // warms caches and page tables
  profile.Reset();
  const uint64_t peak = memory.peak();  // before the peer takes memory of its own

  uint64_t plan = 0, weights = 0;
  nlohmann::json regions;
  for (const MemoryRegion& region : engine->memory()) {
    plan += region.planned_bytes;
    if (region.name == "weights") weights = region.planned_bytes;
    regions[region.name] = region.planned_bytes;
  }
  const std::string id = engine->model().numerics_id;
  // Of activations, and of the peer's products.
  const std::string dtype = absl::StrContains(id, "bfloat16") || absl::StrContains(id, "bf16") ? "bfloat16" : "float32";

  std::ifstream settings_file(a.model + "/longtake.json");
  const auto settings = nlohmann::json::parse(settings_file, nullptr, false);
  std::ifstream vae_file(a.model + "/vae/config.json");
  const auto vae = nlohmann::json::parse(vae_file, nullptr, false);
  if (!settings.is_object() || !vae.is_object())
    return absl::InvalidArgumentError("the folder's settings cannot be read");
  std::unique_ptr<OnednnGemm> gemm;
  double flops = 0;
  const bool both_decoders = a.measured == kTinyDecoder && !a.profile;
  if (!a.no_gemm && a.measured != kTinyDecoder) {
    ASSIGN_OR_RETURN(const auto shapes,
                     Shapes(a, engine->model().sizes.front(), settings.value("caption_tokens", 300),
                            vae.value("scale_factor_spatial", vae.value("spatial_compression_ratio", 8))));
    flops = Flops(shapes);
    ASSIGN_OR_RETURN(gemm, OnednnGemm::Make(shapes, dtype));
    RETURN_IF_ERROR(gemm->Round().status());
  }
  double best = std::numeric_limits<double>::infinity(), full = best, sum = 0, gemm_best = 0;
  nlohmann::json all = nlohmann::json::array();
  for (int round = 0; round < a.rounds; ++round) {
    ASSIGN_OR_RETURN(const double seconds, measured.Measure());
    best = std::min(best, seconds);
    sum += seconds;
    all.push_back(seconds);
    if (both_decoders) {
      ASSIGN_OR_RETURN(const double other, measured.Measure(DecoderKind::kFull));
      full = std::min(full, other);
    }
    if (gemm != nullptr) {
      ASSIGN_OR_RETURN(gemm_best, gemm->Round());
    }
  }
  nlohmann::json line = {{"case", a.measured},
                         {"numerics_id", id},
                         {"isa", IsaOf(id)},
                         {"dtype", dtype},
                         {"seconds", best},
                         {"rounds", all},
                         {"plan_bytes", plan},
                         {"weights_bytes", weights},
                         {"regions", regions},
                         {"loading_peak_bytes", loading_peak},
                         {"peak_bytes", peak},
                         {"loading_memory_vs_plan", static_cast<double>(loading_peak) / static_cast<double>(plan)},
                         {"memory_vs_plan", static_cast<double>(peak) / static_cast<double>(plan)}};
  if (gemm != nullptr) {
    line["gemm_seconds"] = gemm_best;
    line["dense_flops"] = flops;
  }
  if (both_decoders) line["full_seconds"] = full;
  std::printf("%s\n", line.dump().c_str());
  std::fputs(profile.Table(sum, a.rounds).c_str(), stderr);
  return absl::OkStatus();
}

}  // namespace
}  // namespace longtake

int main(int argc, char** argv) {
  longtake::Arguments a;
  CLI::App app("Times one kind of pass through the engine, alternating with oneDNN's matrix product.");
  app.add_option("--case", a.measured)
      ->required()
      ->check(CLI::IsMember({"transformer", "vae", "ltx2", "text", "tiny_decoder"}));
  app.add_option("--model", a.model, "Model folder with longtake.json")->required();
  app.add_option("--dtype", a.dtype)->capture_default_str();
  app.add_option("--text-dtype", a.text_dtype)->capture_default_str();
  app.add_option("--isa", a.isa)->capture_default_str();
  app.add_option("--threads", a.threads, "0: one for each core")->capture_default_str();
  app.add_option("--rounds", a.rounds)->capture_default_str()->check(CLI::Range(1, 1000));
  app.add_option("--latent-frames", a.latent_frames, "In the session")->capture_default_str();
  app.add_flag("--no-gemm", a.no_gemm, "Leave oneDNN out");
  app.add_flag("--profile", a.profile, "A table of the time by operation, on the standard error stream");
  CLI11_PARSE(app, argc, argv);
  if (const absl::Status status = longtake::Run(a); !status.ok()) {
    std::fprintf(stderr, "longtake-bench: %s\n", std::string(status.message()).c_str());
    return 1;
  }
  return 0;
}
