// A scheduler on a loop that is driven by hand, over fake devices; viewers get each chunk as soon as it is decoded,
// unless the test says otherwise.
#ifndef LONGTAKE_TESTS_SCHEDULER_FIXTURE_H_
#define LONGTAKE_TESTS_SCHEDULER_FIXTURE_H_

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "scheduler/scheduler.h"
#include "tests/scheduler/fake_device.h"

namespace longtake::scheduler {

// Keeps what it is told, and checks that each session's events come in order.
class FakeListener : public Listener {
 public:
  struct Story {
    int made_blocks = 0;  // before it came
    std::vector<int> positions;
    bool admitted = false;
    absl::Duration admitted_at;
    std::vector<PassReport> passes;
    std::vector<absl::Duration> latent_at, block_at;  // decoded
    bool ended = false;
    absl::Status status;
  };

  explicit FakeListener(FakeClock* clock) : clock_(clock) {}

  void OnWaiting(SessionId id, int position) override { Living(id).positions.push_back(position); }
  void OnAdmitted(SessionId id) override {
    Living(id).admitted = true;
    Living(id).admitted_at = clock_->Now();
  }
  void OnPass(SessionId id, const PassReport& report) override {
    EXPECT_TRUE(Living(id).admitted);
    EXPECT_LE(report.step, report.steps);
    EXPECT_LE(report.started, report.ended);
    Living(id).passes.push_back(report);
    EXPECT_EQ(report.passes_done, static_cast<int>(Living(id).passes.size()));
    if (report.kind == PassKind::kDecode) Living(id).latent_at.push_back(clock_->Now());
    if (on_pass) on_pass(Number(id), report);
  }
  void OnBlock(SessionId id, int block) override {
    EXPECT_EQ(block, Living(id).made_blocks + static_cast<int>(Living(id).block_at.size()));
    Living(id).block_at.push_back(clock_->Now());
    if (on_block) on_block(Number(id), block);
  }
  void OnEnded(SessionId id, const absl::Status& status) override {
    Living(id).status = status;
    story[Number(id)].ended = true;
  }

  std::map<uint64_t, Story> story;
  std::function<void(uint64_t id, const PassReport&)> on_pass;
  std::function<void(uint64_t id, int block)> on_block;

 private:
  Story& Living(SessionId id) {
    Story& living = story[Number(id)];
    EXPECT_FALSE(living.ended) << "something happened to session " << Number(id) << " after its end";
    return living;
  }
  FakeClock* clock_;
};

class SchedulerFixture : public testing::Test {
 protected:
  void TearDown() override {
    if (scheduler == nullptr) return;
    scheduler->CancelAll(absl::CancelledError("end"));
    loop.RunReady();
    RunAll();
  }

  void Make(Options options, std::vector<LaneInfo> lanes = OneLane()) {
    scheduler.reset();  // before the device that it drives
    device = std::make_unique<FakeDevice>(&clock, &loop, options.places, std::move(lanes));
    scheduler = std::make_unique<Scheduler>(options, &loop, device.get(), &listener);
    listener.on_pass = [this](uint64_t id, const PassReport& report) {
      ++passes[id];
      if (report.kind == PassKind::kDecode && !silent.contains(id)) {
        scheduler->Delivered(SessionId{id}, Position(id, report.block, report.step));
      }
    };
  }

  // Blocks of so many latent frames, each of a second.
  static Request Video(uint64_t id, std::vector<int> blocks, int steps = 2, Delivery delivery = Delivery::kLive) {
    return {
        .id = SessionId{id}, .delivery = delivery, .block_latents = std::move(blocks), .ladder = {{.steps = steps}}};
  }
  static std::vector<Rung> Ladder(const std::vector<int>& steps) {
    std::vector<Rung> ladder;
    for (const int each : steps) ladder.push_back({.steps = each});
    return ladder;
  }
  static Request Live(uint64_t id, int blocks, int steps = 2) { return Video(id, std::vector<int>(blocks, 1), steps); }
  static Request Offline(uint64_t id, int blocks, std::string tenant = "", int priority = 0) {
    Request request = Video(id, std::vector<int>(blocks, 1), 2, Delivery::kOffline);
    request.tenant = std::move(tenant);
    request.priority = priority;
    return request;
  }

  Quote Enter(const Request& request) {
    // Before the entry: the session may end within it.
    const auto before = requests.find(Number(request.id));
    const auto kept = before == requests.end() ? request : before->second;
    requests[Number(request.id)] = request;
    Quote quote = scheduler->Enter(request);
    if (!quote.ok()) requests[Number(request.id)] = kept;
    return quote;
  }
  void Cancel(uint64_t id, absl::Status why = absl::CancelledError("gone")) {
    scheduler->Cancel(SessionId{id}, std::move(why));
    loop.RunReady();
  }
  void Deliver(uint64_t id, int block, int latents) {
    scheduler->Delivered(SessionId{id}, Position(id, block, latents));
    loop.RunReady();
  }
  void Consumed(uint64_t id, absl::Duration position, bool paused) {
    scheduler->Consumed(SessionId{id}, position, paused);
    loop.RunReady();
  }
  // Of the video, after so many latent frames of the block.
  absl::Duration Position(uint64_t id, int block, int latents) const {
    const Request& request = requests.at(id);
    for (int i = 0; i < block; ++i) latents += request.block_latents[i];
    if (latents == 0) return absl::ZeroDuration();
    return absl::Seconds(request.first_latent_seconds + (latents - 1) * request.latent_seconds);
  }

  // One pass of each kind, so that costs are known.
  void Learn() {
    ASSERT_TRUE(Enter(Offline(1000, 1)).ok());
    RunAll();
    ASSERT_TRUE(story(1000).status.ok());
  }
  void RunAll() {
    while (device->FinishBatch()) {
    }
  }
  // Until the clock has come so far; passes under way then go on later.
  void RunFor(absl::Duration time) {
    const absl::Duration end = clock.Now() + time;
    while (true) {
      const absl::Duration next = std::min(device->NextEnd(), loop.wake());
      if (next > end) break;
      if (next == device->NextEnd()) {
        device->FinishPass();
      } else {
        clock.AdvanceTo(std::max(clock.Now(), next));
        loop.RunReady();
      }
    }
    clock.AdvanceTo(std::max(clock.Now(), end));
    loop.RunReady();
  }
  FakeListener::Story& story(uint64_t id) { return listener.story[id]; }
  bool EndedWell(uint64_t id) { return story(id).ended && story(id).status.ok(); }
  // By how much the latest latent frame was decoded after a viewer who started with the first one needed it.
  absl::Duration WorstStall(uint64_t id) {
    absl::Duration worst = -absl::InfiniteDuration();
    const std::vector<absl::Duration>& at = story(id).latent_at;
    for (size_t i = 0; i < at.size(); ++i) {
      worst = std::max(worst, at[i] - at[0] - Position(id, 0, static_cast<int>(i)));
    }
    return worst;
  }

  FakeClock clock;
  Loop loop{&clock};
  FakeListener listener{&clock};
  std::map<uint64_t, Request> requests;
  std::map<uint64_t, int> passes;
  std::set<uint64_t> silent;  // whose clients take nothing
  std::unique_ptr<FakeDevice> device;
  std::unique_ptr<Scheduler> scheduler;
};

}  // namespace longtake::scheduler

#endif  // LONGTAKE_TESTS_SCHEDULER_FIXTURE_H_
