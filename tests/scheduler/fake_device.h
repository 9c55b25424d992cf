// Devices under a clock that only the test moves. Passes take what their kind costs, one after the other in each lane;
// lanes run at the same time.
#ifndef LONGTAKE_TESTS_SCHEDULER_FAKE_DEVICE_H_
#define LONGTAKE_TESTS_SCHEDULER_FAKE_DEVICE_H_

#include <deque>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "scheduler/device.h"
#include "scheduler/loop.h"
#include "scheduler/request.h"

namespace longtake::scheduler {

class FakeClock : public Clock {
 public:
  absl::Duration Now() const override { return now_; }
  void AdvanceTo(absl::Duration now) {
    EXPECT_GE(now, now_);
    now_ = now;
  }
  void Advance(absl::Duration by) { now_ += by; }

 private:
  absl::Duration now_;
};

inline std::vector<LaneInfo> OneLane() { return {LaneInfo()}; }
// `devices` devices, each with a lane for decodes beside the one for the other passes.
inline std::vector<LaneInfo> OverlappingLanes(int devices = 1) {
  std::vector<LaneInfo> lanes;
  for (int device = 0; device < devices; ++device) {
    lanes.push_back({DeviceId{device}, LaneRole::kTransformer});
    lanes.push_back({DeviceId{device}, LaneRole::kDecoder});
  }
  return lanes;
}

// Fails the test when it is driven against the interface: a pass of a closed session or on another device than the
// session's, two passes of a session in one lane, more sessions than places, a third batch in a lane.
class FakeDevice : public Device {
 public:
  // `places`: of each device.
  FakeDevice(FakeClock* clock, Loop* loop, int places, std::vector<LaneInfo> lanes = OneLane())
      : clock_(clock), loop_(loop), places_(places), infos_(std::move(lanes)), lanes_(infos_.size()) {}

  std::vector<LaneInfo> lanes() const override { return infos_; }

  absl::Status Open(SessionId session, DeviceId device) override {
    const uint64_t id = Number(session);
    log.push_back(absl::StrCat("open ", id));
    if (open_error.contains(id)) return open_error[id];
    TakePlace(id, device);
    return absl::OkStatus();
  }

  void Close(SessionId session) override {
    const uint64_t id = Number(session);
    log.push_back(absl::StrCat("close ", id));
    EXPECT_FALSE(UnderWay(session)) << "closed with a pass under way";
    EXPECT_EQ(open.erase(id) + suspended.erase(id), 1u);
  }

  void Submit(LaneId lane, std::vector<Pass> passes, PassDone done) override {
    EXPECT_FALSE(passes.empty());
    Queue& queue = lanes_[Index(lane)];
    EXPECT_LE(queue.batches.size(), 1u) << "a third batch";
    for (const Pass& pass : passes) {
      EXPECT_TRUE(Runs(infos_[Index(lane)].role, pass.kind)) << Name(pass.kind);
      const auto found = open.find(Number(pass.session));
      ASSERT_TRUE(found != open.end()) << "a pass of session " << Number(pass.session) << ", which has no place";
      EXPECT_EQ(found->second, infos_[Index(lane)].device);
      EXPECT_TRUE(queue.sessions.insert(pass.session).second) << "two passes in one lane";
    }
    ++batches;
    if (queue.batches.empty()) queue.free_at = clock_->Now() + fixed;
    queue.batches.push_back({std::move(passes), 0, std::move(done)});
    if (complete_inside_submit) {
      while (!queue.batches.empty()) FinishPass(queue);
    }
  }

  bool can_suspend() const override { return suspends; }
  void Suspend(SessionId session, Done done) override {
    log.push_back(absl::StrCat("suspend ", Number(session)));
    EXPECT_FALSE(UnderWay(session));
    if (!suspend_error.ok()) return done(suspend_error);
    EXPECT_EQ(open.erase(Number(session)), 1u);
    suspended.insert(Number(session));
    done(absl::OkStatus());
  }
  void Resume(SessionId session, DeviceId device, Done done) override {
    log.push_back(absl::StrCat("resume ", Number(session)));
    EXPECT_EQ(suspended.erase(Number(session)), 1u) << "one that goes on stands there from the beginning";
    TakePlace(Number(session), device);
    done(absl::OkStatus());
  }

  absl::Duration Cost(PassKind kind) const { return cost.at(kind); }
  absl::Duration Cost(const Pass& pass) const {
    if (pass.kind != PassKind::kDecode || ladder.empty()) return Cost(pass.kind);
    const Rung& rung = ladder[pass.level];
    const auto before = decoded_by_.find(pass.session);
    const bool rebuilds = before != decoded_by_.end() && before->second != rung.decode_cost;
    return Cost(pass.kind) * rung.decode_cost * (rebuilds ? 1 + rung.rebuild_latents : 1);
  }

  // The passes of the lane's batch that runs, of those not done; empty: it is idle.
  std::vector<Pass> running(int lane = 0) const {
    const Queue& queue = lanes_[lane];
    if (queue.batches.empty()) return {};
    const Batch& batch = queue.batches.front();
    return {batch.passes.begin() + static_cast<std::ptrdiff_t>(batch.done), batch.passes.end()};
  }
  size_t depth(int lane) const { return lanes_[lane].batches.size(); }

  // Advances to the end of the next pass, of all lanes, and completes it; on the way the loop's timer fires when it is
  // due. False when nothing is under way. `whole`: it was the last pass of its batch.
  bool FinishPass(bool* whole = nullptr) {
    while (true) {
      Queue* next = nullptr;
      for (Queue& queue : lanes_) {
        if (!queue.batches.empty() && (next == nullptr || EndOfPass(queue) < EndOfPass(*next))) next = &queue;
      }
      if (next == nullptr) return false;
      if (loop_->wake() < EndOfPass(*next)) {
        clock_->AdvanceTo(std::max(clock_->Now(), loop_->wake()));
        loop_->RunReady();
        continue;  // the timer may have submitted a batch to an idle lane
      }
      // The clock may have been moved past it.
      clock_->AdvanceTo(std::max(clock_->Now(), EndOfPass(*next)));
      const size_t before = next->batches.size();
      FinishPass(*next);
      if (whole != nullptr) *whole = next->batches.size() < before;
      loop_->RunReady();
      return true;
    }
  }
  // Finishes passes until a batch is done. False when nothing is under way.
  bool FinishBatch() {
    for (bool whole = false; !whole;) {
      if (!FinishPass(&whole)) return false;
    }
    return true;
  }
  // The moment at which the next pass ends; infinite: nothing is under way.
  absl::Duration NextEnd() const {
    absl::Duration next = absl::InfiniteDuration();
    for (const Queue& queue : lanes_) {
      if (!queue.batches.empty()) next = std::min(next, EndOfPass(queue));
    }
    return next;
  }

  std::vector<std::string> log;  // "open 1", "denoise 1" (when done), "close 1"
  std::map<uint64_t, DeviceId> open;
  std::set<uint64_t> suspended;
  std::map<uint64_t, absl::Status> open_error, pass_error;
  std::map<PassKind, absl::Duration> cost = {{PassKind::kEncodePrompt, absl::Milliseconds(200)},
                                             {PassKind::kDenoise, absl::Milliseconds(100)},
                                             {PassKind::kCommit, absl::Milliseconds(90)},
                                             {PassKind::kDecode, absl::Milliseconds(30)}};
  std::vector<Rung> ladder;  // of all sessions; empty: a decode takes as long on each level
  absl::Duration fixed;      // of each batch
  int batches = 0;
  bool complete_inside_submit = false;
  bool suspends = false;
  absl::Status suspend_error;

 private:
  struct Batch {
    std::vector<Pass> passes;
    size_t done = 0;
    PassDone on_done;
  };
  struct Queue {
    std::deque<Batch> batches;
    std::set<SessionId> sessions;  // with a pass in one of them
    absl::Duration free_at;        // when what came before the next pass is done
  };

  void TakePlace(uint64_t id, DeviceId device) {
    EXPECT_TRUE(open.emplace(id, device).second);
    int taken = 0;
    for (const auto& [other, on] : open) taken += on == device;
    EXPECT_LE(taken, places_);
  }
  bool UnderWay(SessionId session) const {
    for (const Queue& queue : lanes_) {
      if (queue.sessions.contains(session)) return true;
    }
    return false;
  }
  absl::Duration EndOfPass(const Queue& queue) const {
    const Batch& batch = queue.batches.front();
    return queue.free_at + Cost(batch.passes[batch.done]);
  }
  void FinishPass(Queue& queue) {
    queue.free_at = std::max(EndOfPass(queue), clock_->Now());
    clock_->AdvanceTo(queue.free_at);
    Batch& batch = queue.batches.front();
    const size_t index = batch.done++;
    const Pass pass = batch.passes[index];
    const PassDone on_done = batch.on_done;
    const double seconds = absl::ToDoubleSeconds(Cost(pass));
    if (pass.kind == PassKind::kDecode && !ladder.empty()) decoded_by_[pass.session] = ladder[pass.level].decode_cost;
    queue.sessions.erase(pass.session);
    if (batch.done == batch.passes.size()) {
      queue.batches.pop_front();
      queue.free_at += fixed;
    }
    log.push_back(
        absl::StrCat(pass.kind == PassKind::kEncodePrompt ? "text" : Name(pass.kind), " ", Number(pass.session)));
    const auto error = pass_error.find(Number(pass.session));
    on_done(index, {error == pass_error.end() ? absl::OkStatus() : error->second, seconds});
  }

  FakeClock* clock_;
  Loop* loop_;
  int places_;
  std::vector<LaneInfo> infos_;
  std::vector<Queue> lanes_;
  std::map<SessionId, double> decoded_by_;  // Rung::decode_cost of the last decode
};

}  // namespace longtake::scheduler

#endif  // LONGTAKE_TESTS_SCHEDULER_FAKE_DEVICE_H_
