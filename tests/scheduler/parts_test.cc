// The scheduler's small parts: quantiles, tenants, a lane, the loop.
#include <atomic>
#include <future>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "scheduler/lane.h"
#include "scheduler/loop.h"
#include "scheduler/quantiles.h"
#include "scheduler/tenants.h"
#include "tests/scheduler/fake_device.h"

namespace longtake::scheduler {
namespace {

using testing::ElementsAre;

TEST(Quantiles, AreExactAndForget) {
  Quantiles quantiles(100);
  EXPECT_EQ(quantiles.At(0.5, 7), 7) << "nothing is known";
  for (int i = 1; i <= 100; ++i) quantiles.Add(i);
  EXPECT_EQ(quantiles.At(0.05), 5);
  EXPECT_EQ(quantiles.At(0.5), 50);
  EXPECT_EQ(quantiles.At(0.99), 99);
  EXPECT_EQ(quantiles.At(1), 100);
  for (int i = 0; i < 100; ++i) quantiles.Add(1);
  EXPECT_EQ(quantiles.At(1), 1);
}

// Each value leaves after as many others, wherever in the window it came in.
TEST(Quantiles, AnOutlierStaysForOneWindow) {
  for (size_t at = 0; at < 40; ++at) {
    Quantiles quantiles(20);
    for (size_t i = 0; i < at; ++i) quantiles.Add(1);
    quantiles.Add(9);
    for (int i = 0; i < 19; ++i) quantiles.Add(1);
    EXPECT_EQ(quantiles.At(1), 9) << at;
    quantiles.Add(1);
    EXPECT_EQ(quantiles.At(1), 1) << at;
  }
}

TEST(Tenants, IdleOnesAreForgottenTheLeastRecentFirst) {
  Tenants tenants({{"paying", 5}});
  const auto visit = [&](const std::string& name) {
    tenants.Remove(tenants.Add(name, Delivery::kLive), Delivery::kLive);
  };
  visit("paying");
  for (int i = 0; i < 250; ++i) visit(std::to_string(i));
  const int busy = tenants.Add("busy", Delivery::kOffline);
  visit("150");
  visit("new");
  EXPECT_TRUE(tenants.device_seconds().contains("paying"));
  EXPECT_TRUE(tenants.device_seconds().contains("150"));
  EXPECT_FALSE(tenants.device_seconds().contains("151"));
  EXPECT_EQ(tenants.device_seconds().size(), tuning::kIdleTenants + 2);
  EXPECT_EQ(tenants.at(busy).name, "busy");
}

TEST(Tenants, TimeIsNotSavedUp) {
  Tenants tenants({{"b", 2}});
  const int a = tenants.Add("a", Delivery::kOffline);
  tenants.End(a, Delivery::kOffline, 0, 10);
  const int b = tenants.Add("b", Delivery::kOffline);
  EXPECT_EQ(tenants.at(b).time, 10);
  tenants.Begin(b, Delivery::kOffline, 8);
  EXPECT_EQ(tenants.at(b).time, 14) << "as predicted";
  tenants.End(b, Delivery::kOffline, 8, 10);
  EXPECT_EQ(tenants.at(b).time, 15);
  tenants.End(b, Delivery::kLive, 0, 100);
  EXPECT_EQ(tenants.at(b).time, 15) << "live passes do not count against it";
}

class LaneTest : public testing::Test {
 protected:
  // A batch of one pass that takes so long, where admission counts with `counted` seconds.
  void Run(PassKind kind, absl::Duration took, double counted = 0.1) {
    Lane::Batch batch;
    batch.passes.push_back({.kind = kind});
    batch.work.Add(kind, 1);
    batch.counted = counted;
    const auto begun = lane.Begin(batch, now);
    now += took;
    EXPECT_TRUE(lane.PassDone(*begun, now));
  }
  Lane lane{LaneId{0}, {}};
  absl::Duration now;
};

TEST_F(LaneTest, TheSecondBatchIsDueShortlyBeforeTheFirstCanEnd) {
  EXPECT_LT(lane.NextBatchAt(), now);
  for (int i = 0; i < 20; ++i) {
    for (PassKind kind : kPassKinds) Run(kind, absl::Milliseconds(100));
  }
  Lane::Batch batch;
  batch.passes = {{}, {}};
  batch.work.Add(PassKind::kDecode, 1);
  const auto first = lane.Begin(batch, now);
  EXPECT_NEAR(absl::ToDoubleSeconds(lane.NextBatchAt() - now), 0.1 - 0.002, 0.001);
  EXPECT_NEAR(lane.Remaining(now), 0.1, 0.001);
  const auto second = lane.Begin(batch, now + absl::Milliseconds(99));
  EXPECT_EQ(lane.NextBatchAt(), absl::InfiniteDuration()) << "no third one";
  EXPECT_NEAR(lane.Remaining(now), 0.2, 0.001);
  // The second one's time begins with the first one's end.
  EXPECT_FALSE(lane.PassDone(*first, now + absl::Milliseconds(50)));
  EXPECT_TRUE(lane.PassDone(*first, now + absl::Milliseconds(100)));
  EXPECT_NEAR(absl::ToDoubleSeconds(lane.NextBatchAt() - now), 0.2 - 0.002, 0.001);
  EXPECT_EQ(lane.passes_in_flight(), 2);
  EXPECT_FALSE(lane.PassDone(*second, now + absl::Milliseconds(200)));
  EXPECT_TRUE(lane.PassDone(*second, now + absl::Milliseconds(200)));
  EXPECT_NEAR(lane.cost().Predict(batch.work), 0.1, 0.001) << "each took 100 ms";
  EXPECT_TRUE(lane.idle());
}

// What counts is what sums of many batches take more than admission counts with, not single ones' scatter; and only
// while the lane has no time to spare.
TEST_F(LaneTest, TheLoadsErrorIsThatOfManyBatches) {
  EXPECT_EQ(lane.LoadError(), tuning::kUnknownLoad);
  for (int i = 0; i < 4000; ++i) Run(kPassKinds[i % 4], absl::Milliseconds(i / 4 % 2 == 0 ? 80 : 120));
  EXPECT_LT(lane.LoadError(), 1.03) << "single batches are off by a fifth, and it cancels";
  for (int i = 0; i < 2000; ++i) {
    now += absl::Milliseconds(50);
    Run(kPassKinds[i % 4], absl::Milliseconds(100), /*counted=*/0.07);
  }
  EXPECT_LT(lane.LoadError(), 1.03) << "an idle lane has no reason to share its batches";
  for (int i = 0; i < 10000; ++i) Run(kPassKinds[i % 4], absl::Milliseconds(100), /*counted=*/0.09);
  EXPECT_NEAR(lane.LoadError(), 1 / 0.9, 0.01);
}

TEST_F(LaneTest, TurnsHaveASmallShare) {
  Lane::Batch batch{.turn = true};
  batch.passes = {{}};
  double turns = 0;
  for (int i = 0; i < 1000; ++i) {
    batch.turn = lane.MayTakeTurn();
    turns += batch.turn;
    const auto begun = lane.Begin(batch, now);
    now += absl::Milliseconds(10);
    lane.PassDone(*begun, now);
  }
  EXPECT_NEAR(turns / 1000, tuning::kTurnShare, 0.005);
}

TEST(LoopByHand, RunsTasksInOrderAndTheTurnAfterEachGroup) {
  FakeClock clock;
  Loop loop(&clock);
  std::vector<int> ran;
  loop.SetTurn([&] {
    ran.push_back(0);
    return absl::InfiniteDuration();
  });
  loop.Post([&] {
    ran.push_back(1);
    loop.Post([&] { ran.push_back(3); });
  });
  loop.Post([&] { ran.push_back(2); });
  loop.RunReady();
  EXPECT_THAT(ran, ElementsAre(1, 2, 0, 3, 0));
}

TEST(LoopByHand, TheTimerIsTheTurnsOwn) {
  FakeClock clock;
  Loop loop(&clock);
  int turns = 0;
  loop.SetTurn([&] { return ++turns == 1 ? absl::Seconds(5) : absl::InfiniteDuration(); });
  loop.Call([] {});
  EXPECT_EQ(loop.wake(), absl::Seconds(5));
  clock.Advance(absl::Seconds(4.9));
  loop.RunReady();
  EXPECT_EQ(turns, 1);
  clock.Advance(absl::Seconds(0.1));
  loop.RunReady();
  EXPECT_EQ(turns, 2);
  EXPECT_EQ(loop.wake(), absl::InfiniteDuration());
}

TEST(LoopWithAThread, RunsEverythingOnItAndStopsAfterWhatWasPosted) {
  const MonotonicClock clock;
  Loop loop(&clock);
  loop.Start();
  std::thread::id where;
  loop.Call([&] { where = std::this_thread::get_id(); });
  EXPECT_NE(where, std::this_thread::get_id());
  std::promise<void> timer_fired;
  loop.Call([&] {
    loop.SetTurn([&, turns = 0]() mutable {
      if (++turns == 1) return clock.Now() + absl::Milliseconds(1);
      if (turns == 2) timer_fired.set_value();
      return absl::InfiniteDuration();
    });
  });
  timer_fired.get_future().wait();
  std::atomic<int> ran = 0;
  std::vector<std::thread> posters;
  for (int i = 0; i < 4; ++i) {
    posters.emplace_back([&] {
      for (int task = 0; task < 1000; ++task) loop.Post([&] { ++ran; });
    });
  }
  for (std::thread& poster : posters) poster.join();
  loop.Stop();
  EXPECT_EQ(ran, 4000);
}

}  // namespace
}  // namespace longtake::scheduler
