// longtake-bench-cuda: times what a device is bought for, through the engine's public header.
//
//   longtake-bench-cuda --case pass,decode,stream,clip,beside,graphs,launches --model DIR [--dtype bfloat16] [--device
//   0]
//                       [--rounds 3] [--latent-frames N]
//
// One case or several, in this engine, a line of JSON after each:
//
// pass: denoising passes of a whole block, alternating with the products of its dense layers alone (DenseOps::Linear of
// the
//   same backend on the same shapes): how much of the matrix-product rate a pass keeps.
// decode: a block's latent frames to video frames, with full histories.
// stream: a video of N latent frames, block after block, decoded as it comes: frames a second, and memory after each
//   block.
// clip: the folder's whole clip, all steps and guidance.
// beside: one session's block is decoded while another's is denoised, with a stream each and in turn, alternating.
// graphs: denoising passes of one and of four sessions, launched as they are and as graphs, alternating.
//
// launches: device time of each launch of one denoising pass and of one decoded latent frame, by name; every launch is
//   awaited, so it comes last and says nothing about a pass's own time.
//
// Seconds are wall time from Submit to completion.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <limits>
#include <map>
#include <memory>
#include <string_view>
#include <thread>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "bench/dense_shapes.h"
#include "bench/operation_profile.h"
#include "bench/run_passes.h"
#include "common/status_macros.h"
#include "engine/backend/backend.h"
#include "engine/engine.h"
#include "engine/runtime/load.h"
#include "engine/runtime/part_ops.h"
#include "nlohmann/json.hpp"

namespace longtake {
namespace {

using Clock = std::chrono::steady_clock;
using Json = nlohmann::json;

constexpr int kTogether = 4;                          // sessions of a batch in the case graphs
constexpr std::string_view kLaunchZone = "launch: ";  // engine/cuda/launch_timer.h

struct Arguments {
  std::vector<std::string> cases;
  std::string model;
  std::string dtype = "bfloat16";
  int device = 0, rounds = 3, latent_frames = 0;
};

double Since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

// One session, pass after pass, and the seconds that each kind has taken.
class Runner {
 public:
  Runner(Engine& engine, SessionId id) : engine_(engine), id_(id) {}
  ~Runner() { engine_.CloseSession(id_); }

  absl::StatusOr<double> Run(PassKind kind) {
    ASSIGN_OR_RETURN(const TimedBatch batch,
                     RunPasses(engine_, {{.kind = kind, .session = id_, .prompt = "a red boat on the sea"}}));
    frames_ += batch.results.front().frames.count;
    seconds_[kind] += batch.seconds;
    return batch.seconds;
  }
  // All steps of the block at hand, then its commit.
  absl::Status Block() {
    for (int step = 0; step < engine_.model().denoise_steps; ++step) RETURN_IF_ERROR(Run(PassKind::kDenoise).status());
    return Run(PassKind::kCommit).status();
  }
  absl::Status DecodeCommitted() {
    while (true) {
      ASSIGN_OR_RETURN(const SessionProgress at, engine_.progress(id_));
      if (at.decoded_latents == at.committed_frames) return absl::OkStatus();
      RETURN_IF_ERROR(Run(PassKind::kDecode).status());
    }
  }
  absl::StatusOr<SessionProgress> progress() const { return engine_.progress(id_); }
  int frames() const { return frames_; }
  double seconds(PassKind kind) { return seconds_[kind]; }

 private:
  Engine& engine_;
  SessionId id_;
  int frames_ = 0;
  std::map<PassKind, double> seconds_;
};

// The dense layers of a pass, as the backend runs them: bf16 rows in and out, no epilogue. Quantising the rows is part
// of a narrower product.
class Products {
 public:
  static absl::StatusOr<std::unique_ptr<Products>> Make(const std::vector<DenseShape>& shapes, const Arguments& a) {
    auto products = std::make_unique<Products>();
    ASSIGN_OR_RETURN(products->ops_, MakeBackend({.backend = "cuda", .dtype = a.dtype, .device = a.device}));
    Ops& ops = *products->ops_;
    int64_t in = 0, out = 0;
    for (const DenseShape& s : shapes) {
      in = std::max(in, s.rows * s.inputs);
      out = std::max(out, s.rows * s.outputs);
    }
    const DType act = ops.activation_type();
    products->x_ = ops.device().Allocate(in * SizeOf(act));
    products->y_ = ops.device().Allocate(out * SizeOf(act));
    // Numbers, not zeros: a device clocks higher on zeros.
    auto floats = ops.device().Allocate(in * sizeof(float));
    ops.sampler().FillNormal({.seed = 1}, in, floats->f32());
    ops.elementwise().Convert(MakeMat(floats->data(), DType::kF32, 1, in), MakeMat(products->x_->data(), act, 1, in));
    std::vector<float> weight;
    for (const DenseShape& s : shapes) {
      weight.resize(s.inputs * s.outputs);
      for (size_t i = 0; i < weight.size(); ++i) {
        weight[i] = static_cast<float>(static_cast<int>(i * 2654435761u >> 20) - 2048) / 65536.f;
      }
      const KernelShape shape{.outputs = s.outputs, .inputs = s.inputs, .low_precision = s.low_precision};
      const HostTensor tensor{weight.data(), DType::kF32, {s.outputs, s.inputs}};
      products->layers_.push_back({s, ops.weights().Pack(shape, {&tensor, 1}, {})});
    }
    RETURN_IF_ERROR(ops.device().Synchronize());
    return products;
  }

  // Seconds of all of them, each shape's runs together.
  absl::StatusOr<double> Round() {
    double seconds = 0;
    const DType act = ops_->activation_type();
    for (const auto& [s, kernel] : layers_) {
      const auto begin = Clock::now();
      for (int64_t i = 0; i < s.count; ++i) {
        ops_->dense().Linear({.kernel = *kernel,
                              .x = MakeMat(x_->data(), act, s.rows, s.inputs),
                              .y = MakeMat(y_->data(), act, s.rows, s.outputs)});
      }
      RETURN_IF_ERROR(ops_->device().Synchronize());
      seconds += Since(begin);
    }
    return seconds;
  }

 private:
  std::unique_ptr<Ops> ops_;
  std::unique_ptr<Buffer> x_, y_;
  std::vector<std::pair<DenseShape, std::unique_ptr<PackedKernel>>> layers_;
};

absl::Status MeasurePass(Engine& engine, const Arguments& a, Json* out) {
  const ModelInfo& info = engine.model();
  const int block = info.block_latent_frames;
  ASSIGN_OR_RETURN(const SessionId id, engine.OpenSession({info.sizes.front(), 2 * block, /*seed=*/1}));
  Runner runner(engine, id);
  RETURN_IF_ERROR(runner.Run(PassKind::kEncodePrompt).status());
  // A first block warms.
  RETURN_IF_ERROR(runner.Block());
  RETURN_IF_ERROR(runner.DecodeCommitted());
  const Size size = info.sizes.front();
  ASSIGN_OR_RETURN(const auto shapes,
                   TransformerShapes(a.model + "/transformer/config.json", block, size.height / 8, size.width / 8));
  ASSIGN_OR_RETURN(const auto products, Products::Make(shapes, a));
  RETURN_IF_ERROR(products->Round().status());
  double pass = std::numeric_limits<double>::infinity(), dense = pass;
  for (int step = 0; step < info.denoise_steps; ++step) {
    ASSIGN_OR_RETURN(const double seconds, runner.Run(PassKind::kDenoise));
    pass = std::min(pass, seconds);
    (*out)["rounds"].push_back(seconds);
    ASSIGN_OR_RETURN(const double products_seconds, products->Round());
    dense = std::min(dense, products_seconds);
  }
  ASSIGN_OR_RETURN(const double commit, runner.Run(PassKind::kCommit));
  (*out)["seconds"] = pass;
  (*out)["commit_seconds"] = commit;
  (*out)["tokens"] = shapes.front().rows;
  (*out)["dense_flops"] = Flops(shapes);
  (*out)["products_seconds"] = dense;
  (*out)["of_product_rate"] = dense / pass;
  return absl::OkStatus();
}

absl::Status MeasureDecode(Engine& engine, const Arguments& a, Json* out) {
  const ModelInfo& info = engine.model();
  ASSIGN_OR_RETURN(const SessionId id,
                   engine.OpenSession({info.sizes.front(), (1 + a.rounds) * info.block_latent_frames, /*seed=*/1}));
  Runner runner(engine, id);
  RETURN_IF_ERROR(runner.Run(PassKind::kEncodePrompt).status());
  double best = std::numeric_limits<double>::infinity();
  for (int round = 0; round <= a.rounds; ++round) {  // the first fills the histories
    RETURN_IF_ERROR(runner.Block());
    const double before = runner.seconds(PassKind::kDecode);
    const int frames = runner.frames();
    RETURN_IF_ERROR(runner.DecodeCommitted());
    if (round == 0) continue;
    const double seconds = runner.seconds(PassKind::kDecode) - before;
    best = std::min(best, seconds);
    (*out)["rounds"].push_back(seconds);
    (*out)["frames"] = runner.frames() - frames;
  }
  (*out)["seconds"] = best;
  return absl::OkStatus();
}

// A stream, or a clip of one block.
absl::Status MeasureVideo(Engine& engine, const Arguments& a, Json* out) {
  const ModelInfo& info = engine.model();
  const int latents = a.latent_frames > 0 ? a.latent_frames : info.max_latent_frames;
  const auto make = [&](int frames, Json* result) -> absl::Status {
    ASSIGN_OR_RETURN(const SessionId id, engine.OpenSession({info.sizes.front(), frames, /*seed=*/1}));
    Runner runner(engine, id);
    const auto begin = Clock::now();
    RETURN_IF_ERROR(runner.Run(PassKind::kEncodePrompt).status());
    while (true) {
      ASSIGN_OR_RETURN(const SessionProgress at, runner.progress());
      if (at.block == at.blocks) break;
      RETURN_IF_ERROR(runner.Block());
      RETURN_IF_ERROR(runner.DecodeCommitted());
      uint64_t used = 0;
      for (const MemoryRegion& region : engine.memory()) used += region.used_bytes;
      (*result)["used_bytes"].push_back(used);
    }
    const double wall = Since(begin);
    const double transformer = runner.seconds(PassKind::kDenoise) + runner.seconds(PassKind::kCommit);
    (*result)["seconds"] = wall;
    (*result)["frames"] = runner.frames();
    (*result)["frames_per_second"] = runner.frames() / wall;
    (*result)["transformer_frames_per_second"] = runner.frames() / transformer;
    (*result)["encode_seconds"] = runner.seconds(PassKind::kEncodePrompt);
    (*result)["decode_seconds"] = runner.seconds(PassKind::kDecode);
    return absl::OkStatus();
  };
  if (info.block_latent_frames > 0) {  // a clip is one long run of the same pass and warms itself
    Json warm;
    RETURN_IF_ERROR(make(info.block_latent_frames, &warm));
  }
  return make(latents, out);
}

bool Has(const Arguments& a, const std::string& name) {
  return std::find(a.cases.begin(), a.cases.end(), name) != a.cases.end();
}

EngineOptions Options(const Arguments& a) {
  const int sessions = Has(a, "graphs") ? kTogether : Has(a, "beside") ? 2 : 1;
  return {.model_dir = a.model, .backend = "cuda", .dtype = a.dtype, .devices = {a.device}, .max_sessions = sessions};
}

// Seconds from the beginning of both until both have ended, and until the decoding has, for which a viewer waits.
struct BesideSeconds {
  double both = std::numeric_limits<double>::infinity(), decoding = both;
};
absl::StatusOr<BesideSeconds> DecodeBesideDenoising(Engine& engine) {
  const ModelInfo& info = engine.model();
  const SessionSpec spec{info.sizes.front(), info.block_latent_frames, /*seed=*/1};
  ASSIGN_OR_RETURN(const SessionId first, engine.OpenSession(spec));
  Runner decoded(engine, first);
  ASSIGN_OR_RETURN(const SessionId second, engine.OpenSession(spec));
  Runner denoised(engine, second);
  RETURN_IF_ERROR(decoded.Run(PassKind::kEncodePrompt).status());
  RETURN_IF_ERROR(decoded.Block());
  RETURN_IF_ERROR(denoised.Run(PassKind::kEncodePrompt).status());
  const auto begin = Clock::now();
  BesideSeconds seconds;
  absl::Status decoding;
  std::thread other([&] {
    decoding = decoded.DecodeCommitted();
    seconds.decoding = Since(begin);
  });
  absl::Status denoising;
  for (int step = 0; step < info.denoise_steps && denoising.ok(); ++step) {
    denoising = denoised.Run(PassKind::kDenoise).status();
  }
  other.join();
  RETURN_IF_ERROR(decoding);
  RETURN_IF_ERROR(denoising);
  seconds.both = Since(begin);
  return seconds;
}

absl::Status MeasureBeside(Engine& beside, const Arguments& a, Json* out) {
  EngineOptions options = Options(a);
  options.overlap_decoding = false;
  ASSIGN_OR_RETURN(const std::unique_ptr<Engine> in_turn, Engine::Load(options));
  BesideSeconds best[2];
  for (int round = 0; round <= a.rounds; ++round) {  // the first warms
    for (const bool together : {false, true}) {
      ASSIGN_OR_RETURN(const BesideSeconds seconds, DecodeBesideDenoising(together ? beside : *in_turn));
      if (round == 0) continue;
      best[together].both = std::min(best[together].both, seconds.both);
      best[together].decoding = std::min(best[together].decoding, seconds.decoding);
    }
  }
  for (const bool together : {false, true}) {
    Json& row = (*out)[together ? "beside" : "in_turn"];
    row["seconds"] = best[together].both;
    row["decode_seconds"] = best[together].decoding;
  }
  (*out)["gain"] = best[0].both / best[1].both;
  return absl::OkStatus();
}

// Sessions that take the same passes in one batch.
class Together {
 public:
  static absl::StatusOr<std::unique_ptr<Together>> Open(Engine& engine, int sessions) {
    const ModelInfo& info = engine.model();
    auto all = std::make_unique<Together>(engine);
    for (int i = 0; i < sessions; ++i) {
      ASSIGN_OR_RETURN(const SessionId id,
                       engine.OpenSession({info.sizes.front(), 2 * info.block_latent_frames, uint64_t{1} + i}));
      all->ids_.push_back(id);
    }
    RETURN_IF_ERROR(all->Run(PassKind::kEncodePrompt).status());
    return all;
  }
  explicit Together(Engine& engine) : engine_(engine) {}
  ~Together() {
    for (const SessionId id : ids_) engine_.CloseSession(id);
  }

  absl::StatusOr<double> Run(PassKind kind) {
    std::vector<Pass> passes;
    for (const SessionId id : ids_) passes.push_back({.kind = kind, .session = id, .prompt = "a red boat on the sea"});
    ASSIGN_OR_RETURN(const TimedBatch batch, RunPasses(engine_, std::move(passes)));
    return batch.seconds;
  }

 private:
  Engine& engine_;
  std::vector<SessionId> ids_;
};

absl::Status MeasureGraphs(Engine& plain, const Arguments& a, Json* out) {
  EngineOptions options = Options(a);
  options.cuda_graphs = true;
  ASSIGN_OR_RETURN(const std::unique_ptr<Engine> graphs, Engine::Load(options));
  double least = std::numeric_limits<double>::infinity();
  for (const int sessions : {1, kTogether}) {
    ASSIGN_OR_RETURN(const auto without, Together::Open(plain, sessions));
    ASSIGN_OR_RETURN(const auto with, Together::Open(*graphs, sessions));
    double best[2] = {std::numeric_limits<double>::infinity(), std::numeric_limits<double>::infinity()};
    for (int block = 0; block < 2; ++block) {  // in the first graphs are captured
      for (int step = 0; step < plain.model().denoise_steps; ++step) {
        for (const bool graph : {false, true}) {
          ASSIGN_OR_RETURN(const double seconds, (graph ? *with : *without).Run(PassKind::kDenoise));
          if (block > 0) best[graph] = std::min(best[graph], seconds);
        }
      }
      if (block > 0) break;
      RETURN_IF_ERROR(without->Run(PassKind::kCommit).status());
      RETURN_IF_ERROR(with->Run(PassKind::kCommit).status());
    }
    (*out)["rounds"].push_back({{"sessions", sessions}, {"plain_seconds", best[0]}, {"graph_seconds", best[1]}});
    least = std::min(least, best[0] / best[1]);
  }
  (*out)["gain"] = least;
  return absl::OkStatus();
}

// The launches of one denoising pass and of one decoded latent frame, the longest first.
absl::Status MeasureLaunches(Engine& engine, const OperationProfile& profile, Json* out) {
  const ModelInfo& info = engine.model();
  ASSIGN_OR_RETURN(const SessionId id, engine.OpenSession({info.sizes.front(), info.block_latent_frames, /*seed=*/1}));
  Runner runner(engine, id);
  RETURN_IF_ERROR(runner.Run(PassKind::kEncodePrompt).status());
  const auto record = [&](PassKind kind, const char* name) -> absl::Status {
    profile.Reset();
    profile.Enable(true);
    RETURN_IF_ERROR(runner.Run(kind).status());
    profile.Enable(false);
    for (const Profiler::Zone& zone : profile.zones()) {
      if (!zone.operation.starts_with(kLaunchZone)) continue;
      (*out)[name].push_back({{"name", std::string(zone.operation.substr(kLaunchZone.size()))},
                              {"calls", zone.calls},
                              {"seconds", zone.seconds}});
    }
    return absl::OkStatus();
  };
  RETURN_IF_ERROR(record(PassKind::kDenoise, "denoise"));
  for (int step = 1; step < info.denoise_steps; ++step) RETURN_IF_ERROR(runner.Run(PassKind::kDenoise).status());
  RETURN_IF_ERROR(runner.Run(PassKind::kCommit).status());
  RETURN_IF_ERROR(
      runner.Run(PassKind::kDecode).status());  // a first latent frame is one frame of video, others are four
  return record(PassKind::kDecode, "decode");
}

absl::Status Measure(Engine& engine, const OperationProfile& profile, const Arguments& a, const std::string& what,
                     Json* out) {
  if (what == "pass") return MeasurePass(engine, a, out);
  if (what == "decode") return MeasureDecode(engine, a, out);
  if (what == "beside") return MeasureBeside(engine, a, out);
  if (what == "graphs") return MeasureGraphs(engine, a, out);
  if (what == "launches") return MeasureLaunches(engine, profile, out);
  return MeasureVideo(engine, a, out);
}

absl::Status Run(const Arguments& a) {
  const auto begin = Clock::now();
  const EngineOptions options = Options(a);
  std::unique_ptr<Engine> engine;
  OperationProfile profile;
  if (Has(a, "launches")) {  // an engine does not show its operations, so they are made here
    ASSIGN_OR_RETURN(PartOps parts, PartOps::Make(options, a.device));
    profile = OperationProfile(parts.distinct());
    ASSIGN_OR_RETURN(engine, LoadSlotEngine(options, std::move(parts), options.max_sessions));
  } else {
    ASSIGN_OR_RETURN(engine, Engine::Load(options));
  }
  Json common = {{"dtype", a.dtype},
                 {"numerics_id", engine->model().numerics_id},
                 {"denoise_steps", engine->model().denoise_steps},
                 {"load_seconds", Since(begin)}};
  for (const MemoryRegion& region : engine->memory()) common["planned_bytes"][region.name] = region.planned_bytes;
  for (const std::string& what : a.cases) {
    Json line = common;
    line["case"] = what;
    RETURN_IF_ERROR(Measure(*engine, profile, a, what, &line));
    std::printf("%s\n", line.dump().c_str());
    std::fflush(stdout);
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace longtake

int main(int argc, char** argv) {
  longtake::Arguments a;
  CLI::App app("Times passes, decoding and whole videos on a device.");
  app.add_option("--case", a.cases, "One or several, with commas between them")
      ->required()
      ->delimiter(',')
      ->check(CLI::IsMember({"pass", "decode", "stream", "clip", "beside", "graphs", "launches"}));
  app.add_option("--model", a.model, "Model folder with longtake.json")->required();
  app.add_option("--dtype", a.dtype, "bfloat16, float8 or nvfp4")->capture_default_str();
  app.add_option("--device", a.device)->capture_default_str();
  app.add_option("--rounds", a.rounds, "Of decode and beside")->capture_default_str()->check(CLI::Range(1, 100));
  app.add_option("--latent-frames", a.latent_frames, "Of stream and clip; 0: the model's most");
  CLI11_PARSE(app, argc, argv);
  if (const absl::Status status = longtake::Run(a); !status.ok()) {
    std::fprintf(stderr, "longtake-bench-cuda: %s\n", std::string(status.message()).c_str());
    return 1;
  }
  return 0;
}
