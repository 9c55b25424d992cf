// longtake-pass-times: what passes of one and of several sessions take on this machine, what encoding takes, and how
// much the two slow each other down: the table that the simulator plays. The last line is JSON; --table FILE writes the
// table.
//
// As in the server, the engine's threads have a lower priority than the encoders'.
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <future>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_format.h"
#include "bench/run_passes.h"
#include "common/status_macros.h"
#include "engine/engine.h"
#include "server/media/media.h"

namespace longtake {
namespace {

constexpr int kCounts[] = {1, 2, 4, 8};
constexpr int kEncoders = 2;  // at most so many beside the engine, as many as the server has
// Of the engine behind the encoders: as the server's LoadBehindOthers.
constexpr int kNiceSteps = 5;

double Median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2), values.end());
  return values[values.size() / 2];
}

double Now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

// One batch that was timed: `count` sessions, one pass each.
struct Sample {
  PassKind kind;
  int count;
  double seconds;
};

// Seconds of a latent frame's encoding, and what a block's first one takes more: an encoder is opened, and the frame is
// a key frame.
struct EncodeTime {
  double begin = 0, latent = 0;
};

class Measurement {
 public:
  explicit Measurement(Engine& engine) : engine_(engine), info_(engine.model()) {}

  // Two blocks of so many sessions in step; the second is measured: its attention has a state to read, and the video's
  // first latent frame decodes to one frame where all others make frames_per_latent.
  absl::StatusOr<std::vector<Sample>> Blocks(int count) {
    std::vector<Sample> samples;
    std::vector<SessionId> sessions;
    for (int i = 0; i < count; ++i) {
      ASSIGN_OR_RETURN(const SessionId id, engine_.OpenSession({info_.sizes.front(), 2 * info_.block_latent_frames,
                                                                static_cast<uint64_t>(i)}));
      sessions.push_back(id);
    }
    const auto run = [&](PassKind kind, int times, bool measured) -> absl::Status {
      for (int i = 0; i < times; ++i) {
        ASSIGN_OR_RETURN(const double seconds, Run(kind, sessions, measured));
        if (measured) samples.push_back({kind, count, seconds});
      }
      return absl::OkStatus();
    };
    RETURN_IF_ERROR(run(PassKind::kEncodePrompt, 1, true));
    for (const bool second : {false, true}) {
      RETURN_IF_ERROR(run(PassKind::kDenoise, info_.denoise_steps, second));
      RETURN_IF_ERROR(run(PassKind::kCommit, 1, second));
      if (second) frames_.clear();
      RETURN_IF_ERROR(run(PassKind::kDecode, info_.block_latent_frames, second));
    }
    for (SessionId id : sessions) engine_.CloseSession(id);
    return samples;
  }

  // Encodes the block that was decoded last, as the server does.
  absl::StatusOr<EncodeTime> Encode() const {
    const Size size = info_.sizes.front();
    ASSIGN_OR_RETURN(const media::FrameRate rate, media::FrameRateFrom(info_.fps));
    const int64_t first = frames_.front().first_frame, end = frames_.back().first_frame + frames_.back().count;
    ASSIGN_OR_RETURN(const media::Stream stream, media::DescribeStream({size.width, size.height, rate, end}));
    const double begin = Now();
    double started = 0;
    ASSIGN_OR_RETURN(const auto encoder, media::BlockEncoder::Open(stream, first));
    for (const DecodedFrames& frames : frames_) {
      RETURN_IF_ERROR(encoder->Encode(frames.bytes).status());
      if (started == 0) started = Now();
    }
    const double latent = (Now() - started) / static_cast<double>(frames_.size() - 1);
    return EncodeTime{.begin = started - begin - latent, .latent = latent};
  }

 private:
  absl::StatusOr<double> Run(PassKind kind, const std::vector<SessionId>& sessions, bool keep_frames) {
    std::vector<Pass> passes;
    for (SessionId id : sessions) {
      passes.push_back({.kind = kind, .session = id});
      if (kind == PassKind::kEncodePrompt) passes.back().prompt = "a red boat on a blue lake under a yellow sun";
    }
    ASSIGN_OR_RETURN(TimedBatch batch, RunPasses(engine_, std::move(passes)));
    if (kind == PassKind::kDecode && keep_frames) frames_.push_back(std::move(batch.results.front().frames));
    return batch.seconds;
  }

  Engine& engine_;
  const ModelInfo& info_;
  std::vector<DecodedFrames> frames_;  // of the first session's block
};

// Medians of seconds by kind and number of sessions.
std::map<std::pair<PassKind, int>, double> Medians(const std::vector<Sample>& samples) {
  std::map<std::pair<PassKind, int>, std::vector<double>> seconds;
  for (const Sample& sample : samples) seconds[{sample.kind, sample.count}].push_back(sample.seconds);
  std::map<std::pair<PassKind, int>, double> medians;
  for (const auto& [key, values] : seconds) medians[key] = Median(values);
  return medians;
}

// Each sample over the median of its kind and count, in the order in which they were taken. Prompts are left out: they
// are so short that anything else doubles them.
std::vector<double> Ratios(const std::vector<Sample>& samples,
                           const std::map<std::pair<PassKind, int>, double>& medians) {
  std::vector<double> ratios;
  for (const Sample& sample : samples) {
    if (sample.kind == PassKind::kEncodePrompt) continue;
    ratios.push_back(sample.seconds / medians.at({sample.kind, sample.count}));
  }
  return ratios;
}

double Mean(const std::vector<double>& values) {
  double sum = 0;
  for (double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

absl::Status Measure(const std::string& model, int rounds, const std::string& path) {
  EngineOptions options;
  options.model_dir = model;
  options.max_sessions = *std::max_element(std::begin(kCounts), std::end(kCounts));
  ASSIGN_OR_RETURN(const std::unique_ptr<Engine> engine, std::async(std::launch::async, [&] {
                                                           const int nice = getpriority(PRIO_PROCESS, 0);
                                                           setpriority(PRIO_PROCESS, 0, nice + kNiceSteps);
                                                           return Engine::Load(options);
                                                         }).get());
  const ModelInfo& info = engine->model();
  Measurement measurement(*engine);
  RETURN_IF_ERROR(measurement.Blocks(1).status());  // warm
  std::vector<Sample> samples;
  std::vector<double> encode, encode_begin;
  // The same work beside 0, 1 and 2 encoders that never rest, in turn: seconds over the medians of the row above.
  std::vector<std::vector<Sample>> beside(kEncoders + 1);
  std::vector<double> encode_beside;
  for (int round = 0; round < rounds; ++round) {
    for (int count : kCounts) {
      ASSIGN_OR_RETURN(const std::vector<Sample> more, measurement.Blocks(count));
      samples.insert(samples.end(), more.begin(), more.end());
      ASSIGN_OR_RETURN(const EncodeTime time, measurement.Encode());
      encode.push_back(time.latent);
      encode_begin.push_back(time.begin);
    }
    for (int encoders = 0; encoders <= kEncoders; ++encoders) {
      std::atomic<bool> stop = false;
      std::vector<std::future<absl::StatusOr<std::vector<double>>>> running;
      for (int i = 0; i < encoders; ++i) {
        running.push_back(
            std::async(std::launch::async, [&, twin = measurement]() -> absl::StatusOr<std::vector<double>> {
              std::vector<double> taken;
              while (!stop) {
                ASSIGN_OR_RETURN(const EncodeTime time, twin.Encode());
                taken.push_back(time.latent);
              }
              return taken;
            }));
      }
      Measurement engine_alone(*engine);
      auto more = engine_alone.Blocks(4);
      stop = true;
      for (auto& future : running) {
        ASSIGN_OR_RETURN(const std::vector<double> taken, future.get());
        if (encoders == 1) encode_beside.insert(encode_beside.end(), taken.begin(), taken.end());
      }
      RETURN_IF_ERROR(more.status());
      beside[encoders].insert(beside[encoders].end(), more->begin(), more->end());
    }
    std::fprintf(stderr, "round %d of %d\n", round + 1, rounds);
  }

  const auto medians = Medians(samples);
  std::vector<double> ratios = Ratios(samples, medians);
  nlohmann::json table = {{"name", info.name},
                          {"source", "longtake-pass-times, " + info.numerics_id},
                          {"places", 32},
                          {"steps", info.denoise_steps},
                          {"block_latents", info.block_latent_frames},
                          {"frames_per_latent", info.frames_per_latent},
                          {"fps", info.fps}};
  const auto round_to = [](double value) { return std::stod(absl::StrFormat("%.4g", value)); };
  const auto median = [&](PassKind kind, int count) { return medians.at({kind, count}); };
  table["text"] = round_to(median(PassKind::kEncodePrompt, 1));
  // One by one in whatever batch: a batch's time over its passes.
  double decode = 0;
  for (int count : kCounts) decode += median(PassKind::kDecode, count) / count / std::size(kCounts);
  table["decode"] = round_to(decode);
  table["transformer"] = nlohmann::json::array();
  for (int count : kCounts) {
    // A block's steps and its commit cost the same per pass, but for what the commit writes; the block's time counts.
    const double steps = info.denoise_steps;
    const double pass = (steps * median(PassKind::kDenoise, count) + median(PassKind::kCommit, count)) / (steps + 1);
    table["transformer"].push_back({count * info.block_latent_frames, round_to(pass)});
  }
  table["encode"] = round_to(Median(encode));
  table["encode_begin"] = round_to(std::max(0.0, Median(encode_begin)));
  const double alone = Mean(Ratios(beside[0], Medians(beside[0])));
  table["engine_speed"] = nlohmann::json::array();
  for (const std::vector<Sample>& with : beside) {
    table["engine_speed"].push_back(round_to(alone / Mean(Ratios(with, Medians(beside[0])))));
  }
  table["encoder_speed"] = round_to(Median(encode) / Mean(encode_beside));
  table["noise"] = nlohmann::json::array();
  for (double ratio : ratios) {
    // Beyond that the machine stood still, or was about to begin something: no scatter of passes.
    if (ratio > 0.5 && ratio < 2) table["noise"].push_back(std::round(1000 * ratio) / 1000);
  }

  for (const auto& [key, seconds] : medians) {
    std::printf("%-13s of %d sessions: %8.3f ms, %8.1f passes/s\n", Name(key.first), key.second, 1e3 * seconds,
                key.second / seconds);
  }
  std::sort(ratios.begin(), ratios.end());
  std::printf("over the median: 5%% %.2f, 95%% %.2f, mean %.3f; encoding a latent frame: %.2f ms\n",
              ratios[ratios.size() / 20], ratios[ratios.size() * 19 / 20], Mean(ratios), 1e3 * Median(encode));
  if (!path.empty()) {
    std::ofstream file(path);
    file << table.dump() << '\n';
    if (!file.flush()) return absl::UnavailableError("--table: cannot write " + path);
  }
  std::printf("%s\n", table.dump().c_str());
  return absl::OkStatus();
}

}  // namespace
}  // namespace longtake

int main(int argc, char** argv) {
  std::string model = "models/longtake-tiny", table;
  int rounds = 5;
  CLI::App app("Measures passes, encoding, and both beside each other.", "longtake-pass-times");
  app.add_option("--model", model, "Model folder")->capture_default_str();
  app.add_option("--rounds", rounds)->check(CLI::Range(1, 1000))->capture_default_str();
  app.add_option("--table", table, "File for the table");
  CLI11_PARSE(app, argc, argv);
  if (const absl::Status status = longtake::Measure(model, rounds, table); !status.ok()) {
    std::fprintf(stderr, "longtake-pass-times: %s\n", std::string(status.message()).c_str());
    return 1;
  }
}
