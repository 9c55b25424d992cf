#include "engine/runtime/warm_up.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"

namespace longtake {
namespace {

const SizeShape& Smallest(const VideoModel& model) {
  return *std::min_element(model.sizes().begin(), model.sizes().end(), [](const SizeShape& a, const SizeShape& b) {
    return a.height * a.width < b.height * b.width;
  });
}

absl::Status RunPass(Executor& executor, Session& session, const Pass& pass) {
  absl::Status status;
  const BoundPass bound{.pass = &pass, .session = &session};
  executor.Issue(
      {&bound, 1},
      [&](IssuedPasses* passes) {
        executor.Await(passes, [&](const IssuedPasses::One&, PassResult result) { status = result.status; });
      },
      [&](const BoundPass&, absl::Status refused) { status = std::move(refused); });
  if (status.ok()) return status;
  return absl::Status(status.code(), absl::StrCat("the first pass of its kind: ", status.message()));
}

}  // namespace

absl::Status WarmUp(const VideoModel& model, Executor& executor, const SlotMemory& memory) {
  const SizeShape& shape = Smallest(model);
  const int patch = model.transformer().config().patch[0];
  const bool two_blocks = model.settings().causal && model.info().max_latent_frames >= 2 * patch;
  const std::vector<int> blocks(two_blocks ? 2 : 1, patch);
  const SessionSpec spec{.size = shape.size, .latent_frames = patch * static_cast<int>(blocks.size()), .seed = 1};
  Session session(model, shape, blocks, spec, memory);
  const auto run = [&](PassKind kind) { return RunPass(executor, session, {.kind = kind, .prompt = "a red ball"}); };
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
    for (int frame = 0; frame < blocks[block]; ++frame) RETURN_IF_ERROR(run(PassKind::kDecode));
  }
  return absl::OkStatus();
}

}  // namespace longtake
