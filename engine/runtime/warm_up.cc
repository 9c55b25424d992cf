#include "engine/runtime/warm_up.h"

#include <algorithm>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/crc32c.h"
#include "common/status_macros.h"

namespace longtake {
namespace {

const SizeShape& Smallest(const VideoModel& model) {
  return *std::min_element(model.sizes().begin(), model.sizes().end(), [](const SizeShape& a, const SizeShape& b) {
    return a.height * a.width < b.height * b.width;
  });
}

absl::StatusOr<PassResult> RunPass(Executor& executor, Session& session, const Pass& pass) {
  PassResult out;
  const BoundPass bound{.pass = &pass, .session = &session};
  executor.Issue(
      {&bound, 1},
      [&](IssuedPasses* passes) {
        executor.Await(passes, [&](const IssuedPasses::One&, PassResult result) { out = std::move(result); });
      },
      [&](const BoundPass&, absl::Status refused) { out.status = std::move(refused); });
  if (out.status.ok()) return out;
  return absl::Status(out.status.code(), absl::StrCat("the first pass of its kind: ", out.status.message()));
}

// Adds the latents of the session's last block to the checksum.
void AddLatents(Ops& ops, const Session& session, std::vector<std::byte>* latents, uint32_t* sum) {
  latents->resize(session.FinishedLatents().size());
  ops.device().Download(session.FinishedLatents().data(), latents->data(), latents->size());
  *sum = Crc32c(*latents, *sum);
}

// A video of two latent frames whose first is an image.
absl::Status WarmUpImage(Ops& ops, const VideoModel& model, Executor& executor, const SlotMemory& memory,
                         uint32_t* sum) {
  const SizeShape& shape = Smallest(model);
  auto image = std::make_shared<FirstImage>();
  image->rgb.resize(size_t{3} * shape.size.width * shape.size.height);
  for (size_t i = 0; i < image->rgb.size(); ++i) image->rgb[i] = static_cast<uint8_t>(i * i >> 3);
  const SessionSpec spec{.size = shape.size, .latent_frames = 2, .seed = 1, .first_image = std::move(image)};
  // Both frames in one block, whatever the model's blocks are.
  Session session(model, shape, {2}, spec, memory);
  const auto run = [&](PassKind kind) {
    return RunPass(executor, session, {.kind = kind, .prompt = "a red ball"}).status();
  };
  RETURN_IF_ERROR(run(PassKind::kEncodePrompt));
  RETURN_IF_ERROR(run(PassKind::kDenoise));
  if (model.steps(/*level=*/0) > 1) {
    session.SkipToStep(model.steps(/*level=*/0) - 1);
    RETURN_IF_ERROR(run(PassKind::kDenoise));
  }
  RETURN_IF_ERROR(run(PassKind::kCommit));
  std::vector<std::byte> latents;
  AddLatents(ops, session, &latents, sum);
  for (int frame = 0; frame < 2; ++frame) {
    ASSIGN_OR_RETURN(const PassResult decoded, RunPass(executor, session, {.kind = PassKind::kDecode}));
    *sum = Crc32c(std::as_bytes(std::span(decoded.frames.bytes)), *sum);
  }
  return absl::OkStatus();
}

// Decodes the latents of a session that has been made, from the first on, by the tiny decoder: the finished block's and
// those kept of the blocks before. Adds the frames to `sum`. Returns the seconds of the last latent frame.
absl::StatusOr<double> DecodeTiny(const VideoModel& model, Executor& executor, const SlotMemory& memory,
                                  const Session& made, uint32_t* sum) {
  SessionSpec spec = made.spec();
  spec.decoder = DecoderKind::kTiny;
  SessionPosition at = made.BlockStart();
  at.decoded = at.caches_from = 0;
  Session session(model, made.shape(), made.blocks(), spec, memory, at);
  double seconds = 0;
  while (session.progress().decoded_latents < at.first_frame) {
    ASSIGN_OR_RETURN(const PassResult decoded, RunPass(executor, session, {.kind = PassKind::kDecode}));
    *sum = Crc32c(std::as_bytes(std::span(decoded.frames.bytes)), *sum);
    seconds = decoded.device_seconds;
  }
  return seconds;
}

constexpr double kMostTinyCost = 0.99;

// `full` and `tiny`: seconds of the last of `latents` latent frames. Of the first one the full decoder makes one video
// frame, while the tiny one's work is nearly that of any other. Below 1, whatever was measured: the last rung of an
// overloaded server's ladder is the tiny decoder, and must be the cheaper one.
double TinyDecodeCost(const VideoModel& model, double full, double tiny, int latents) {
  if (latents == 1) full *= static_cast<double>(model.geometry().frames);
  return full > 0 && tiny > 0 ? std::clamp(tiny / full, 1e-3, kMostTinyCost) : kMostTinyCost;
}

}  // namespace

absl::StatusOr<WarmedUp> WarmUp(Ops& ops, const VideoModel& model, Executor& executor, const SlotMemory& memory) {
  const SizeShape& shape = Smallest(model);
  const int patch = model.transformer().config().patch[0];
  const bool two_blocks = model.settings().causal && model.info().max_latent_frames >= 2 * patch;
  const std::vector<int> blocks(two_blocks ? 2 : 1, patch);
  const SessionSpec spec{.size = shape.size, .latent_frames = patch * static_cast<int>(blocks.size()), .seed = 1};
  Session session(model, shape, blocks, spec, memory);
  const auto run = [&](PassKind kind) {
    return RunPass(executor, session, {.kind = kind, .prompt = "a red ball"}).status();
  };
  std::vector<std::byte> checkpoint;
  uint32_t sum = 0;
  double decode_seconds = 0;  // of the last latent frame
  std::vector<std::byte> latents;
  for (size_t block = 0; block < blocks.size(); ++block) {
    RETURN_IF_ERROR(run(PassKind::kEncodePrompt));
    const int steps = model.steps(/*level=*/0);
    for (int step = 0; step < steps; ++step) {
      if (step == 2) {
        step = steps - 1;
        session.SkipToStep(step);
      }
      RETURN_IF_ERROR(run(PassKind::kDenoise));
    }
    RETURN_IF_ERROR(run(PassKind::kCommit));
    AddLatents(ops, session, &latents, &sum);
    for (int frame = 0; frame < blocks[block]; ++frame) {
      ASSIGN_OR_RETURN(const PassResult decoded, RunPass(executor, session, {.kind = PassKind::kDecode}));
      sum = Crc32c(std::as_bytes(std::span(decoded.frames.bytes)), sum);
      decode_seconds = decoded.device_seconds;
    }
    checkpoint = std::vector<std::byte>();  // `= {}` would keep its memory, and the plan has room for one
    ASSIGN_OR_RETURN(PassResult saved, RunPass(executor, session, {.kind = PassKind::kSave}));
    checkpoint = std::move(saved.checkpoint);
  }
  const Pass restore{.kind = PassKind::kRestore, .checkpoint = std::move(checkpoint)};
  RETURN_IF_ERROR(RunPass(executor, session, restore).status());
  WarmedUp warm{.golden_sum = sum};
  if (model.has_tiny_decoder()) {
    ASSIGN_OR_RETURN(const double tiny, DecodeTiny(model, executor, memory, session, &warm.golden_sum));
    warm.tiny_decode_cost = TinyDecodeCost(model, decode_seconds, tiny, spec.latent_frames);
  }
  if (model.info().accepts_first_image && model.info().max_latent_frames >= 2) {
    RETURN_IF_ERROR(WarmUpImage(ops, model, executor, memory, &warm.golden_sum));
  }
  return warm;
}

}  // namespace longtake
