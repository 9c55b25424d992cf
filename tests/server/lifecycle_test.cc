// The phases of a server's life and what its probes answer; whether its device works. Both on a clock that stands
// still.
#include "server/lifecycle/lifecycle.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/video/device_watch.h"
#include "tests/server/fake_clock.h"

namespace longtake::server {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using Phase = Lifecycle::Phase;

class LifecycleTest : public testing::Test, protected Lifecycle::Actions {
 protected:
  void Publish(const Lifecycle::Probes& probes) override {
    said.push_back(std::string(probes.live ? "live " : "dead ") + (probes.ready ? "ready " : "busy ") +
                   (probes.started ? "started" : "starting"));
  }
  void RefuseWork(Lifecycle::Refusal why) override {
    said.push_back(why == Lifecycle::Refusal::kDeviceLost ? "refuse: lost" : "refuse: shutdown");
  }
  void EndVideos() override { said.push_back("end videos"); }

  // What was said by this step.
  std::vector<std::string> Step(const Lifecycle::Observed& observed = {}) {
    said.clear();
    next = lifecycle.Advance(observed) - clock.Now();
    return said;
  }
  void Serve() {
    Step();
    ASSERT_TRUE(lifecycle.Loaded());
    Step();
  }

  FakeClock clock;
  Lifecycle lifecycle{
      {.shutdown_grace = absl::Seconds(5), .shutdown_limit = absl::Seconds(25), .shutdown_reading = absl::Seconds(2)},
      &clock,
      this};
  std::vector<std::string> said;
  absl::Duration next;  // until the step that is due next
};

TEST_F(LifecycleTest, IsLiveAtOnceAndReadyOnceLoaded) {
  EXPECT_THAT(Step(), ElementsAre("live busy starting"));
  EXPECT_THAT(Step(), ElementsAre()) << "nothing has changed";
  EXPECT_EQ(next, absl::InfiniteDuration());
  clock.Advance(absl::Minutes(10));
  EXPECT_THAT(Step(), ElementsAre()) << "loading may take its time";
  EXPECT_TRUE(lifecycle.Loaded());
  EXPECT_THAT(Step(), ElementsAre("live ready started"));
  EXPECT_EQ(lifecycle.phase(), Phase::kServing);
}

TEST_F(LifecycleTest, AShutdownRefusesLateFinishesWhatRunsAndEndsInTime) {
  Serve();
  lifecycle.Stop(/*grace=*/true);
  EXPECT_THAT(Step({.busy = true}), ElementsAre("live busy started"));
  EXPECT_EQ(lifecycle.phase(), Phase::kLeaving);
  EXPECT_EQ(next, absl::Seconds(5));
  clock.Advance(absl::Milliseconds(4999));
  EXPECT_THAT(Step({.busy = false}), ElementsAre()) << "a balancer may still send new work";
  EXPECT_EQ(lifecycle.phase(), Phase::kLeaving);
  clock.Advance(absl::Milliseconds(1));
  EXPECT_THAT(Step({.busy = true}), ElementsAre("refuse: shutdown"));
  EXPECT_EQ(next, absl::Seconds(18));
  lifecycle.Stop(/*grace=*/true);  // changes nothing
  clock.Advance(absl::Milliseconds(17'999));
  EXPECT_THAT(Step({.busy = true}), ElementsAre());
  clock.Advance(absl::Milliseconds(1));
  EXPECT_THAT(Step({.busy = true}), ElementsAre("end videos"));
  EXPECT_EQ(lifecycle.phase(), Phase::kCutting);
  EXPECT_EQ(next, absl::Seconds(2));
  clock.Advance(absl::Milliseconds(1999));
  EXPECT_THAT(Step({.busy = true}), ElementsAre());
  clock.Advance(absl::Milliseconds(1));
  EXPECT_THAT(Step({.busy = true}), ElementsAre("dead busy starting"));
  EXPECT_EQ(lifecycle.phase(), Phase::kEnded);
}

TEST_F(LifecycleTest, AnIdleServerEndsWithItsGrace) {
  Serve();
  lifecycle.Stop(/*grace=*/true);
  Step();
  clock.Advance(absl::Seconds(5));
  EXPECT_THAT(Step(), ElementsAre("refuse: shutdown"));
  EXPECT_EQ(lifecycle.phase(), Phase::kFinishing) << "work may have come before it was refused";
  Step();
  EXPECT_EQ(lifecycle.phase(), Phase::kEnded);
}

TEST_F(LifecycleTest, WithoutGraceNewWorkIsRefusedAtOnce) {
  Serve();
  lifecycle.Stop(/*grace=*/false);
  EXPECT_THAT(Step({.busy = true}), ElementsAre("live busy started", "refuse: shutdown"));
  EXPECT_EQ(next, absl::Seconds(23)) << "what runs has its time all the same";
  clock.Advance(absl::Seconds(10));
  Step({.busy = false});
  EXPECT_EQ(lifecycle.phase(), Phase::kEnded);
}

TEST_F(LifecycleTest, AStopWhileLoadingEndsAtOnce) {
  Step();
  lifecycle.Stop(/*grace=*/true);
  EXPECT_THAT(Step(), ElementsAre("dead busy starting"));
  EXPECT_EQ(lifecycle.phase(), Phase::kEnded);
  EXPECT_FALSE(lifecycle.Loaded()) << "nothing is served any more";
}

TEST_F(LifecycleTest, StopNowEndsFromEveryPhase) {
  Serve();
  lifecycle.Stop(/*grace=*/true);
  Step({.busy = true});
  lifecycle.StopNow();
  EXPECT_EQ(lifecycle.phase(), Phase::kEnded);
  EXPECT_THAT(Step({.busy = true}), ElementsAre("dead busy starting"));
}

TEST_F(LifecycleTest, ALimitShorterThanItsPartsHolds) {
  Lifecycle hasty(
      {.shutdown_grace = absl::Seconds(5), .shutdown_limit = absl::Seconds(1), .shutdown_reading = absl::Seconds(2)},
      &clock, this);
  hasty.Loaded();
  hasty.Advance({});
  hasty.Stop(/*grace=*/true);
  said.clear();
  hasty.Advance({.busy = true});
  hasty.Advance({.busy = true});
  EXPECT_THAT(said, ElementsAre("live busy started", "refuse: shutdown", "end videos"));
  clock.Advance(absl::Seconds(1));
  hasty.Advance({.busy = true});
  EXPECT_EQ(hasty.phase(), Phase::kEnded);
}

TEST_F(LifecycleTest, AStuckDeviceIsNeitherLiveNorReadyUntilItWorksAgain) {
  Serve();
  EXPECT_THAT(Step({.device_stuck = true}), ElementsAre("dead busy started"));
  EXPECT_THAT(Step({.device_stuck = true}), ElementsAre());
  EXPECT_THAT(Step(), ElementsAre("live ready started"));
}

TEST_F(LifecycleTest, ALostDeviceRefusesWorkForGood) {
  Serve();
  EXPECT_THAT(Step({.device_lost = true}), ElementsAre("dead busy started", "refuse: lost"));
  lifecycle.Stop(/*grace=*/false);
  EXPECT_THAT(Step({.device_lost = true}), ElementsAre()) << "refused already";
  Step({.device_lost = true});
  EXPECT_EQ(lifecycle.phase(), Phase::kEnded);
}

class DeviceWatchTest : public testing::Test {
 protected:
  using State = DeviceHealth::State;
  // Passes of a kind that take so long.
  void Teach(PassKind kind, double seconds) { watch.OnPassDone(watch.OnSubmit({kind}), kind, seconds); }

  FakeClock clock;
  DeviceWatch watch{absl::Seconds(30), 20, &clock};
};

TEST_F(DeviceWatchTest, ABatchFarBeyondItsPredictionIsStuckAndSaysOfWhat) {
  Teach(PassKind::kDenoise, 2);
  Teach(PassKind::kCommit, 1);
  const uint64_t batch = watch.OnSubmit({PassKind::kDenoise, PassKind::kDenoise, PassKind::kCommit});
  clock.Advance(absl::Seconds(100));  // 20 x (2 + 2 + 1)
  EXPECT_EQ(watch.health().state, State::kWorks);
  clock.Advance(absl::Seconds(1));
  const DeviceHealth health = watch.health();
  EXPECT_EQ(health.state, State::kStuck);
  EXPECT_THAT(health.reason, HasSubstr("2 denoise, 1 commit has been under way for 101 s, predicted 5.00 s"));
  watch.OnPassDone(batch, PassKind::kDenoise, 100);
  watch.OnPassDone(batch, PassKind::kDenoise, 100);
  EXPECT_EQ(watch.health().state, State::kStuck);
  watch.OnPassDone(batch, PassKind::kCommit, 100);
  EXPECT_EQ(watch.health().state, State::kWorks) << "it came back";
}

TEST_F(DeviceWatchTest, ShortPassesHaveHalfAMinute) {
  Teach(PassKind::kDecode, 0.001);
  watch.OnSubmit({PassKind::kDecode});
  clock.Advance(absl::Seconds(30));
  EXPECT_EQ(watch.health().state, State::kWorks);
  clock.Advance(absl::Seconds(1));
  EXPECT_EQ(watch.health().state, State::kStuck);
}

TEST_F(DeviceWatchTest, WhatIsAheadInTheQueueCounts) {
  Teach(PassKind::kDenoise, 10);
  Teach(PassKind::kDecode, 0.1);
  const uint64_t first = watch.OnSubmit({PassKind::kDenoise});
  watch.OnSubmit({PassKind::kDecode});
  clock.Advance(absl::Seconds(150));
  EXPECT_EQ(watch.health().state, State::kWorks);
  watch.OnPassDone(first, PassKind::kDenoise, 150);
  EXPECT_EQ(watch.health().state, State::kWorks) << "it could not begin before";
  clock.Advance(absl::Seconds(60));
  EXPECT_EQ(watch.health().state, State::kStuck);
}

TEST_F(DeviceWatchTest, TheFirstPassOfAKindHasTenMinutes) {
  watch.OnSubmit({PassKind::kDenoise});
  clock.Advance(absl::Minutes(10));
  EXPECT_EQ(watch.health().state, State::kWorks);
  clock.Advance(absl::Seconds(1));
  EXPECT_EQ(watch.health().state, State::kStuck);
}

TEST_F(DeviceWatchTest, IsLostOnceOpenSessionSaysSo) {
  watch.OnOpened(absl::OkStatus());
  watch.OnOpened(absl::ResourceExhaustedError("no free slot"));
  EXPECT_EQ(watch.health().state, State::kWorks);
  watch.OnOpened(absl::UnavailableError("device 0 has failed"));
  watch.OnOpened(absl::OkStatus());
  EXPECT_EQ(watch.health().state, State::kLost);
  EXPECT_THAT(watch.health().reason, HasSubstr("device 0 has failed"));
}

}  // namespace
}  // namespace longtake::server
