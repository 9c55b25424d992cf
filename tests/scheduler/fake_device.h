// A device under a clock that only the test moves. Passes complete when the test says so.
#ifndef LONGTAKE_TESTS_SCHEDULER_FAKE_DEVICE_H_
#define LONGTAKE_TESTS_SCHEDULER_FAKE_DEVICE_H_

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
#include "scheduler/scheduler.h"

namespace longtake::scheduler {

class FakeClock : public Clock {
 public:
  absl::Duration Now() const override { return now_; }
  void Advance(absl::Duration by) { now_ += by; }

 private:
  absl::Duration now_;
};

// Fails the test when it is driven against the interface: a pass of a closed session, two passes in one lane, more
// sessions than places, a second batch before the first is done.
class FakeDevice : public Device {
 public:
  FakeDevice(FakeClock* clock, int places) : clock_(clock), places_(places) {}

  absl::Status Open(SessionId session) override {
    log.push_back(absl::StrCat("open ", session));
    if (open_error.contains(session)) return open_error[session];
    EXPECT_TRUE(open.insert(session).second);
    EXPECT_LE(static_cast<int>(open.size()), places_);
    return absl::OkStatus();
  }

  void Close(SessionId session) override {
    log.push_back(absl::StrCat("close ", session));
    for (const Pass& pass : batch) EXPECT_NE(pass.session, session) << "closed with a pass under way";
    EXPECT_EQ(open.erase(session), 1u);
  }

  void Submit(std::vector<Pass> passes, std::function<void(size_t, PassOutcome)> done) override {
    EXPECT_TRUE(batch.empty());
    EXPECT_FALSE(passes.empty());
    std::set<std::pair<SessionId, bool>> lanes;
    for (const Pass& pass : passes) {
      EXPECT_TRUE(open.contains(pass.session));
      EXPECT_TRUE(lanes.emplace(pass.session, pass.kind == PassKind::kDecode).second);
    }
    batch = passes;
    done_ = std::move(done);
    ++batches;
    if (complete_inside_submit) FinishBatch();
  }

  static absl::Duration Cost(PassKind kind) {
    switch (kind) {
      case PassKind::kEncodePrompt:
        return absl::Milliseconds(200);
      case PassKind::kDenoise:
        return absl::Milliseconds(100);
      case PassKind::kCommit:
        return absl::Milliseconds(90);
      case PassKind::kDecode:
        return absl::Milliseconds(30);
    }
    return absl::ZeroDuration();
  }

  // Completes the batch pass by pass, one after the other in time. False when there is none.
  bool FinishBatch() {
    if (batch.empty()) return false;
    const std::vector<Pass> passes = std::exchange(batch, {});
    const auto done = std::exchange(done_, nullptr);
    for (size_t i = 0; i < passes.size(); ++i) {
      clock_->Advance(Cost(passes[i].kind));
      log.push_back(absl::StrCat(Name(passes[i].kind), " ", passes[i].session));
      absl::Status status;
      if (const auto found = pass_error.find(passes[i].session); found != pass_error.end()) status = found->second;
      done(i, {status, absl::ToDoubleSeconds(Cost(passes[i].kind))});
    }
    return true;
  }

  static std::string Name(PassKind kind) {
    return kind == PassKind::kEncodePrompt ? "text"
           : kind == PassKind::kDenoise    ? "denoise"
           : kind == PassKind::kCommit     ? "commit"
                                           : "decode";
  }

  std::vector<std::string> log;  // "open 1", "denoise 1" (when done), "close 1"
  std::vector<Pass> batch;       // under way
  std::set<SessionId> open;
  std::map<SessionId, absl::Status> open_error, pass_error;
  int batches = 0;
  bool complete_inside_submit = false;

 private:
  FakeClock* clock_;
  int places_;
  std::function<void(size_t, PassOutcome)> done_;
};

// Keeps what it hears, and checks that each story is told in order.
class FakeListener : public Listener {
 public:
  struct Story {
    std::vector<int> positions;
    bool admitted = false;
    std::vector<PassReport> passes;
    std::vector<absl::Duration> block_at;  // by block
    bool ended = false;
    absl::Status status;
  };

  explicit FakeListener(FakeClock* clock) : clock_(clock) {}

  void OnWaiting(SessionId id, int position) override { Living(id).positions.push_back(position); }
  void OnAdmitted(SessionId id) override { Living(id).admitted = true; }
  void OnPass(SessionId id, const PassReport& report) override {
    EXPECT_TRUE(Living(id).admitted);
    EXPECT_LE(report.step, report.steps);
    EXPECT_LE(report.started, report.ended);
    Living(id).passes.push_back(report);
    EXPECT_EQ(report.passes_done, static_cast<int>(Living(id).passes.size()));
    if (on_pass) on_pass(id, report);
  }
  void OnBlock(SessionId id, int block) override {
    EXPECT_EQ(block, static_cast<int>(Living(id).block_at.size()));
    Living(id).block_at.push_back(clock_->Now());
    if (on_block) on_block(id, block);
  }
  void OnEnded(SessionId id, const absl::Status& status) override {
    Living(id).status = status;
    story[id].ended = true;
  }

  std::map<SessionId, Story> story;
  std::function<void(SessionId, const PassReport&)> on_pass;
  std::function<void(SessionId, int)> on_block;

 private:
  Story& Living(SessionId id) {
    EXPECT_FALSE(story[id].ended) << "something happened to session " << id << " after its end";
    return story[id];
  }
  FakeClock* clock_;
};

}  // namespace longtake::scheduler

#endif  // LONGTAKE_TESTS_SCHEDULER_FAKE_DEVICE_H_
