// A device of a group without a device: its sessions' memory is one number a slot, its work runs when a test says so.
#ifndef LONGTAKE_TESTS_ENGINE_FAKE_MEMBER_H_
#define LONGTAKE_TESTS_ENGINE_FAKE_MEMBER_H_

#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/runtime/movable_engine.h"

namespace longtake {

// What a fake session's memory becomes with each pass, and shows when it is decoded.
inline uint64_t FakeStep(uint64_t memory, uint64_t by) {
  uint64_t x = (memory ^ by) * 0x9e3779b97f4a7c15u;
  return x ^ (x >> 29);
}

class FakeMember : public MovableEngine {
 public:
  static constexpr int kSteps = 2, kBlocks = 4;  // of one latent frame each

  explicit FakeMember(int slots) : memory_(slots, 0) {
    model_.numerics_id = "fake";
    model_.denoise_steps = kSteps;
    for (int slot = slots - 1; slot >= 0; --slot) free_.push_back(slot);
  }
  // As an engine's does: what was submitted runs.
  ~FakeMember() override {
    while (RunOne()) continue;
  }

  // Runs what was submitted first; false where there is nothing.
  bool RunOne() {
    if (queue_.empty()) return false;
    const std::function<void()> task = std::move(queue_.front());
    queue_.pop_front();
    task();
    return true;
  }
  // The next TakeSession is refused.
  void RefuseToTake() { refuses_to_take_ = true; }
  // From now on all that runs fails, and all memory is lost.
  void Fail() {
    failed_ = true;
    for (uint64_t& m : memory_) m = 0xdead;
  }

  const ModelInfo& model() const override { return model_; }
  std::vector<MemoryRegion> memory() const override {
    const int slots = static_cast<int>(memory_.size());
    return {{.name = "state", .slots = slots, .slots_used = slots - static_cast<int>(free_.size())}};
  }
  std::vector<int> BlockLengths(int, bool) const override { return std::vector<int>(kBlocks, 1); }

  absl::StatusOr<SessionId> OpenSession(const SessionSpec& spec) override {
    if (noticed_) return absl::UnavailableError("the device has failed");
    if (free_.empty()) return absl::ResourceExhaustedError("no slot");
    Session& s = sessions_[++last_id_];
    s.spec = spec;
    s.slot = free_.back();
    free_.pop_back();
    return last_id_;
  }
  void CloseSession(SessionId id) override {
    const auto it = sessions_.find(id);
    if (it == sessions_.end()) return;
    it->second.closed = true;
    FreeIfDone(it);
  }
  absl::StatusOr<SessionProgress> progress(SessionId id) const override {
    const auto it = sessions_.find(id);
    if (it == sessions_.end() || it->second.closed) return absl::NotFoundError("session");
    const Session& s = it->second;
    return SessionProgress{.spec = s.spec,
                           .blocks = kBlocks,
                           .block = s.at.block,
                           .block_frames = 1,
                           .step = s.at.step,
                           .steps = kSteps,
                           .committed_frames = s.at.first_frame,
                           .decoded_latents = s.at.decoded,
                           .has_prompt = s.at.has_prompt};
  }
  absl::Status CheckCheckpoint(const SessionSpec&, std::span<const std::byte>) const override {
    return absl::UnimplementedError("fake sessions are not saved");
  }
  void Submit(Lane, std::vector<Pass> passes, std::function<void(size_t, PassResult)> done) override {
    std::vector<bool> known;
    for (const Pass& pass : passes) {
      const auto it = sessions_.find(pass.session);
      known.push_back(it != sessions_.end() && !it->second.closed);
      if (known.back()) ++it->second.under_way;
    }
    queue_.push_back([this, passes = std::move(passes), known, done = std::move(done)] {
      for (size_t i = 0; i < passes.size(); ++i) {
        PassResult result;
        if (!known[i]) {
          result.status = absl::NotFoundError("session");
        } else {
          const auto it = sessions_.find(passes[i].session);
          result = Run(passes[i], it->second);
          --it->second.under_way;
          FreeIfDone(it);
        }
        done(i, std::move(result));
      }
    });
  }

  int free_slots() const override { return noticed_ ? 0 : static_cast<int>(free_.size()); }
  std::unique_ptr<Buffer> AllocateImage() override { return std::make_unique<HostBuffer>(sizeof(uint64_t)); }
  size_t ImageBytes(SessionId) const override { return sizeof(uint64_t); }
  void TakeSession(SessionId id, Buffer& image, std::function<void(absl::StatusOr<SessionPosition>)> done) override {
    const auto it = sessions_.find(id);
    if (std::exchange(refuses_to_take_, false)) {
      queue_.push_back([done = std::move(done)] { done(absl::FailedPreconditionError("not now")); });
      return;
    }
    misused_ = misused_ || it == sessions_.end() || it->second.under_way > 0 || it->second.at.step > 0;
    queue_.push_back([this, session = it->second, &image, done = std::move(done)] {
      if (Failed()) return done(absl::InternalError("lost"));
      std::memcpy(image.data(), &memory_[session.slot], sizeof(uint64_t));
      done(session.at);
    });
    free_.push_back(it->second.slot);
    sessions_.erase(it);
  }
  void PutSession(SessionId id, const SessionPosition& position, Buffer& image,
                  std::function<void(absl::Status)> done) override {
    queue_.push_back([this, id, position, &image, done = std::move(done)] {
      if (Failed()) return done(absl::InternalError("lost"));
      Session& s = sessions_.at(id);
      s.at = position;
      std::memcpy(&memory_[s.slot], image.data(), sizeof(uint64_t));
      done(absl::OkStatus());
    });
  }

  bool misused() const { return misused_; }

 private:
  struct Session {
    SessionSpec spec;
    SessionPosition at;
    int slot = 0, under_way = 0;
    bool closed = false;
  };
  // A failure shows when something runs.
  bool Failed() { return noticed_ = noticed_ || failed_; }
  void FreeIfDone(std::map<SessionId, Session>::iterator it) {
    if (!it->second.closed || it->second.under_way > 0) return;
    free_.push_back(it->second.slot);
    sessions_.erase(it);
  }
  PassResult Run(const Pass& pass, Session& s) {
    PassResult result{.device_seconds = 0.01};
    uint64_t& memory = memory_[s.slot];
    SessionPosition& at = s.at;
    if (Failed()) {
      result.status = absl::InternalError("lost");
    } else if (pass.kind == PassKind::kEncodePrompt) {
      memory = FakeStep(s.spec.seed, 1);
      at.has_prompt = true;
    } else if (pass.kind == PassKind::kDenoise && at.has_prompt && at.step < kSteps) {
      memory = FakeStep(memory, 2 + at.step++);
    } else if (pass.kind == PassKind::kCommit && at.step == kSteps && at.decoded == at.first_frame) {
      memory = FakeStep(memory, 99);
      ++at.block;
      ++at.first_frame;
      at.step = 0;
    } else if (pass.kind == PassKind::kDecode && at.decoded < at.first_frame) {
      result.frames = {.count = 1, .first_frame = at.decoded++};
      for (size_t i = 0; i < sizeof memory; ++i) {
        result.frames.bytes.push_back(static_cast<uint8_t>(memory >> 8 * i));
      }
    } else {
      result.status = absl::FailedPreconditionError("order");
    }
    return result;
  }

  ModelInfo model_;
  std::vector<uint64_t> memory_;  // of each slot
  std::vector<int> free_;
  std::map<SessionId, Session> sessions_;
  std::deque<std::function<void()>> queue_;
  SessionId last_id_ = 0;
  bool failed_ = false, noticed_ = false, misused_ = false, refuses_to_take_ = false;
};

}  // namespace longtake

#endif  // LONGTAKE_TESTS_ENGINE_FAKE_MEMBER_H_
