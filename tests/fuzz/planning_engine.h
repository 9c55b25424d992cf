// What requests are checked against: the fake engine's model, and no sessions.
#ifndef LONGTAKE_TESTS_FUZZ_PLANNING_ENGINE_H_
#define LONGTAKE_TESTS_FUZZ_PLANNING_ENGINE_H_

#include <cstddef>
#include <functional>
#include <span>
#include <utility>
#include <vector>

#include "engine/engine.h"
#include "tests/fuzz/check.h"
#include "tests/server/fake_engine.h"

namespace longtake::fuzz {

class PlanningEngine : public Engine {
 public:
  const ModelInfo& model() const override { return model_; }
  std::vector<MemoryRegion> memory() const override { return {}; }
  // Blocks of the model's length; the first takes what is left over.
  std::vector<int> BlockLengths(int latent_frames, bool /*first_image*/) const override {
    const int length = model_.block_latent_frames, over = latent_frames % length;
    std::vector<int> lengths(latent_frames / length, length);
    if (lengths.empty() || over == 0) return lengths.empty() ? std::vector<int>{over} : lengths;
    lengths.front() += over;
    return lengths;
  }
  absl::StatusOr<SessionId> OpenSession(const SessionSpec&) override { return absl::UnavailableError("no sessions"); }
  void CloseSession(SessionId) override {}
  absl::StatusOr<SessionProgress> progress(SessionId) const override { return absl::NotFoundError("no sessions"); }
  absl::Status CheckCheckpoint(const SessionSpec&, std::span<const std::byte>) const override {
    return absl::UnavailableError("no sessions");
  }
  void Submit(Lane, std::vector<Pass>, std::function<void(size_t, PassResult)>) override {
    Check(false, "a request's check has submitted a pass");
  }

 private:
  const ModelInfo model_ = FakeModel();
};

}  // namespace longtake::fuzz

#endif  // LONGTAKE_TESTS_FUZZ_PLANNING_ENGINE_H_
