// The fleet: when a pod serves, what becomes of one that goes, which one goes, and what an autoscaler is shown of them.
#include "bench/serving/fleet/fleet.h"

#include <algorithm>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "bench/serving/fleet/cluster.h"
#include "bench/serving/fleet/scenario.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace longtake::bench {
namespace {

using testing::ElementsAre;

// A second of video takes 0.1 s of the device.
PassTable Table() {
  PassTable table;
  table.places = 8;
  table.steps = 4;
  table.block_latents = 4;
  table.frames_per_latent = 4;
  table.fps = 16;
  table.text = 0.001;
  table.transformer = {{4, 0.004}, {16, 0.01}};
  table.decode = 0.02;
  table.encode = 0.002;
  return table;
}

// Pods are asked for and looked at by hand, and visitors come one by one.
class ClusterTest : public testing::Test {
 protected:
  // A server may only be destroyed when nothing is under way on it.
  void TearDown() override {
    for (SimulatedServer* server : cluster->servers()) server->CancelAll(absl::CancelledError("the test is over"));
    const auto busy = [](const SimulatedServer* server) { return server->busy(); };
    while (std::ranges::any_of(cluster->servers(), busy)) Step(loop, cluster->servers());
  }
  // So many visitors want a live video of so many seconds; they come when they are sent.
  void Make(int pods, int visitors = 4, double seconds = 20) {
    trace.assign(visitors, {.seconds = seconds, .patience = 1e9});
    options.pods = pods;
    audience =
        std::make_unique<Audience>(&trace, &table, &loop, 10, [this](size_t visitor) { moved.push_back(visitor); });
    cluster = std::make_unique<Cluster>(options, &table, &loop, audience.get());
  }
  void RunUntil(double when) {
    bool there = false;
    loop.At(when, [&] { there = true; });
    while (!there) Step(loop, cluster->servers());
  }
  std::vector<int> Listed() const {
    std::vector<int> numbers;
    for (const Pod* pod : cluster->Listed()) numbers.push_back(pod->number());
    return numbers;
  }
  const Pod& PodAt(size_t index) const { return *cluster->pods()[index]; }
  Visit VisitOf(size_t visitor) const { return audience->Sum(true).visits[visitor]; }

  const PassTable table = Table();
  std::vector<Visitor> trace;
  FleetOptions options;
  EventLoop loop;
  std::unique_ptr<Audience> audience;
  std::unique_ptr<Cluster> cluster;
  std::vector<size_t> moved;
};

TEST_F(ClusterTest, APodThatStartsServesNothingBeforeItIsReady) {
  options.pod.schedule_seconds = 30;
  options.pod.load_seconds = 8;
  Make(1);
  EXPECT_THAT(Listed(), ElementsAre(0)) << "those of the beginning are there";
  RunUntil(100);
  cluster->Scale(2);
  EXPECT_EQ(cluster->existing(), 2) << "it is paid for from now on";
  RunUntil(137.9);
  EXPECT_TRUE(PodAt(1).running());
  EXPECT_EQ(PodAt(1).server(), nullptr) << "the model loads";
  RunUntil(139.9);
  EXPECT_NE(PodAt(1).server(), nullptr);
  EXPECT_FALSE(PodAt(1).ready()) << "the startup probe has not asked yet";
  RunUntil(140.9);
  EXPECT_TRUE(PodAt(1).ready());
  EXPECT_THAT(Listed(), ElementsAre(0)) << "balancers do not know it yet";
  RunUntil(141.1);
  EXPECT_THAT(Listed(), ElementsAre(0, 1));
}

TEST_F(ClusterTest, APodThatDoesNotRunYetIsGoneAtOnce) {
  Make(1);
  RunUntil(100);
  cluster->Scale(2);
  RunUntil(110);
  cluster->Scale(1);
  EXPECT_TRUE(PodAt(1).gone());
  RunUntil(300);
  EXPECT_FALSE(PodAt(1).running());
  EXPECT_DOUBLE_EQ(cluster->pod_seconds(300), 310);
}

TEST_F(ClusterTest, APodThatLoadsIsGoneAtOnce) {
  options.pod.load_seconds = 100;
  Make(1);
  RunUntil(10);
  cluster->Scale(2);
  RunUntil(100);
  cluster->Scale(1);
  EXPECT_TRUE(PodAt(1).gone());
  RunUntil(300);
  EXPECT_EQ(PodAt(1).server(), nullptr);
}

TEST_F(ClusterTest, NothingIsSentToAPodThatShutsDownAndWhatItHasIsFinished) {
  Make(2);
  RunUntil(1);
  audience->Send(0, PodAt(1).server());
  RunUntil(2);
  cluster->Scale(1);
  EXPECT_THAT(Listed(), ElementsAre(0, 1)) << "balancers do not know it yet";
  audience->Send(1, PodAt(1).server());
  EXPECT_TRUE(VisitOf(1).accepted) << "so it still takes what comes";
  RunUntil(3.1);
  EXPECT_THAT(Listed(), ElementsAre(0));
  RunUntil(7.1);
  audience->Send(2, PodAt(1).server());
  EXPECT_EQ(VisitOf(2).refused, "stopped") << "after the grace it takes nothing";
  RunUntil(40);
  EXPECT_TRUE(VisitOf(0).done && VisitOf(1).done);
  EXPECT_EQ(VisitOf(0).stalls + VisitOf(1).stalls, 0);
  EXPECT_FALSE(VisitOf(0).cut || VisitOf(1).cut);
  ASSERT_TRUE(PodAt(1).gone());
  EXPECT_LT(PodAt(1).gone_at(), 20) << "it ends when nothing is left to do";
  EXPECT_THAT(cluster->servers(), ElementsAre(PodAt(0).server()));
}

TEST_F(ClusterTest, WhatIsNotFinishedInTimeIsCut) {
  options.pod.lifecycle.shutdown_limit = absl::Seconds(10);
  options.pod.server.studio.max_lead = absl::Seconds(5);  // so that it cannot be made ahead
  Make(2, 1, 60);
  RunUntil(1);
  audience->Send(0, PodAt(1).server());
  RunUntil(2);
  cluster->Scale(1);
  RunUntil(9.9);
  EXPECT_FALSE(VisitOf(0).cut);
  RunUntil(15);
  EXPECT_TRUE(VisitOf(0).cut);
  EXPECT_FALSE(VisitOf(0).done);
  EXPECT_GE(PodAt(1).gone_at(), 10) << "viewers have two seconds for what is there";
  EXPECT_LE(PodAt(1).gone_at(), 12);
  EXPECT_EQ(audience->Sum(true).cut, 1);
}

TEST_F(ClusterTest, WhoWaitsIsRefusedWhenTheGraceIsOver) {
  options.pod.server.studio.max_sessions = 1;
  Make(2, 2, 200);
  RunUntil(1);
  audience->Send(0, PodAt(1).server());
  audience->Send(1, PodAt(1).server());
  ASSERT_TRUE(VisitOf(1).accepted);
  cluster->Scale(1);
  RunUntil(5.9);
  EXPECT_EQ(VisitOf(1).refused, "");
  RunUntil(6.3);
  EXPECT_EQ(VisitOf(1).refused, "shutting_down");
  EXPECT_EQ(audience->Sum(true).refusals.at("shutting_down"), 1);
}

TEST_F(ClusterTest, AnotherServerGoesOnWithWhatIsHandedOver) {
  options.pod.drain = Drain::kHandOver;
  options.pod.server.studio.max_lead = absl::Seconds(5);
  Make(2, 1, 60);
  RunUntil(1);
  audience->Send(0, PodAt(1).server());
  RunUntil(2);
  cluster->Scale(1);
  RunUntil(7.5);
  ASSERT_THAT(moved, ElementsAre(0u));
  audience->Move(0, PodAt(0).server());
  RunUntil(100);
  EXPECT_LT(PodAt(1).gone_at(), 8) << "nothing holds it";
  EXPECT_TRUE(VisitOf(0).done);
  EXPECT_EQ(VisitOf(0).stalls, 0);
  EXPECT_NEAR(audience->video_seconds(), 60, 0.5) << "what is made again is not sent again";
}

// Its name and its volume are the same, so the new one waits for the old one.
TEST_F(ClusterTest, ANumberOfAStatefulSetComesBackWhenItsPodIsGone) {
  options.pod.server.studio.max_lead = absl::Seconds(5);
  Make(3, 2, 60);
  RunUntil(1);
  audience->Send(0, PodAt(2).server());
  audience->Send(1, PodAt(1).server());
  cluster->Scale(2);
  EXPECT_TRUE(PodAt(2).terminating()) << "the highest number, whatever it has";
  EXPECT_FALSE(PodAt(1).terminating());
  EXPECT_EQ(cluster->status_pods(), 3) << "the controller counts it still";
  RunUntil(10);
  cluster->Scale(3);
  EXPECT_EQ(cluster->pods().size(), 3u);
  RunUntil(100);
  ASSERT_TRUE(PodAt(2).gone());
  ASSERT_EQ(cluster->pods().size(), 4u);
  EXPECT_EQ(PodAt(3).number(), 2);
  EXPECT_DOUBLE_EQ(PodAt(3).created(), PodAt(2).gone_at());
}

TEST_F(ClusterTest, ADeploymentGivesUpThePodWithTheLowestCostAndStartsNewOnesAtOnce) {
  options.workload = Workload::kDeploymentByCost;
  options.pod.server.studio.max_lead = absl::Seconds(5);
  Make(3, 3, 60);
  RunUntil(1);
  audience->Send(0, PodAt(0).server());
  audience->Send(1, PodAt(2).server());
  RunUntil(17);  // everything has been scraped
  cluster->Scale(2);
  EXPECT_TRUE(PodAt(1).terminating()) << "it has nothing to do";
  EXPECT_EQ(cluster->status_pods(), 2);
  cluster->Scale(1);
  cluster->Scale(3);
  EXPECT_EQ(cluster->pods().size(), 5u);
  RunUntil(18);
  cluster->Scale(2);
  EXPECT_TRUE(PodAt(3).gone() || PodAt(4).gone()) << "one that has not started goes first";
}

TEST_F(ClusterTest, ADeploymentWithoutCostsGivesUpTheYoungestPodWhateverItHas) {
  options.workload = Workload::kDeployment;
  options.pod.server.studio.max_lead = absl::Seconds(5);
  Make(2, 1, 60);
  RunUntil(1);
  cluster->Scale(3);
  RunUntil(100);
  ASSERT_TRUE(PodAt(2).ready());
  audience->Send(0, PodAt(2).server());
  RunUntil(120);  // everything has been scraped
  cluster->Scale(2);
  EXPECT_TRUE(PodAt(2).terminating());
}

TEST_F(ClusterTest, TheAutoscalerIsShownWhatWasScrapedLast) {
  options.pod.server.studio.max_lead = absl::Seconds(5);
  options.target = 1;
  Make(1, 4, 60);
  EXPECT_EQ(cluster->Recommend(), std::nullopt) << "nothing has been scraped";
  RunUntil(16);
  EXPECT_EQ(cluster->Recommend(), 0);
  const double scraped = PodAt(0).sample()->when;
  // 60 s take some 6 s of the device each; before the costs are known they count as 0.
  for (size_t visitor = 0; visitor < 4; ++visitor) audience->Send(visitor, PodAt(0).server());
  RunUntil(scraped + 14.9);
  EXPECT_EQ(cluster->Recommend(), 0);
  RunUntil(scraped + 15.1);
  EXPECT_GT(cluster->Recommend(), 8);
  const double backlog = PodAt(0).server()->stats().live_backlog_seconds;
  EXPECT_NEAR(PodAt(0).sample()->backlog_seconds, backlog, 0.1 * backlog);
  EXPECT_EQ(PodAt(0).sample()->requests, 4);
  // From then on they keep the device busy for 0.38 of the time, and so much more until they are ahead.
  RunUntil(scraped + 30.1);
  EXPECT_NEAR(*PodAt(0).sample()->used, 0.45, 0.1);
}

TEST_F(ClusterTest, AYoungPodsCpuUseCountsOnceItIsMeasuredWhileItIsReady) {
  options.metric = Metric::kCpu;
  options.target = 0.01;
  options.pod.server.studio.max_lead = absl::Seconds(5);
  Make(1, 4, 100);
  RunUntil(31);
  EXPECT_EQ(cluster->Recommend(), 0) << "idle";
  for (size_t visitor = 0; visitor < 4; ++visitor) audience->Send(visitor, PodAt(0).server());
  RunUntil(62);
  const int alone = cluster->Recommend().value();
  EXPECT_NEAR(alone, 45, 10);
  cluster->Scale(2);
  EXPECT_NEAR(cluster->Recommend().value(), alone, 1) << "a pod that starts counts as idle and changes nothing";
}

TEST(FleetTest, TheSameSeedGivesTheSameDay) {
  const PassTable table = Table();
  ScenarioOptions short_day;
  short_day.day_seconds = 200;
  Scenario day = Day(short_day);
  const std::vector<Visitor> trace = MakeTrace(day.trace, table);
  FleetOptions options = Policies(day, {})[0].options;
  options.target = 2;
  const auto run = [&](uint64_t seed) {
    options.seed = seed;
    return SimulateFleet(trace, table, options);
  };
  const FleetOutcome once = run(1), again = run(1), other = run(2);
  EXPECT_GT(once.changes, 0);
  EXPECT_EQ(once.pod_seconds, again.pod_seconds);
  ASSERT_EQ(once.visits.size(), again.visits.size());
  bool differs = false;
  for (size_t i = 0; i < once.visits.size(); ++i) {
    EXPECT_EQ(once.visits[i].first, again.visits[i].first) << i;
    differs |= once.visits[i].first != other.visits[i].first;
  }
  EXPECT_TRUE(differs);
}

TEST(FleetTest, ScalesUpInAPeakAndDownAfterIt) {
  const PassTable table = Table();
  Scenario peak = Peak({});
  peak.trace.duration = 1200;
  peak.trace.peak_begin = 300;
  peak.trace.peak_seconds = 300;
  FleetOptions options = Policies(peak, {})[0].options;
  options.metric = Metric::kLiveLoad;
  options.target = 0.4;
  options.scaling->down.window = 60;
  options.scaling->down.policies = {{ScalingPolicy::Kind::kPods, 1, 60}};
  const FleetOutcome outcome = SimulateFleet(MakeTrace(peak.trace, table), table, options);
  const auto wanted_at = [&](double when) { return outcome.timeline[static_cast<size_t>(when / 30)].wanted; };
  EXPECT_LE(wanted_at(270), 3);
  EXPECT_GE(wanted_at(570), 5);
  EXPECT_LE(wanted_at(1170), 3);
  EXPECT_LT(outcome.mean_pods(), outcome.most_pods);
}

// Ten videos on two servers, of which one goes and has 10 s: too little to finish what it has.
TEST(FleetTest, WhatAServerHandsOverIsFinishedByAnother) {
  const PassTable table = Table();
  std::vector<Visitor> trace;
  for (int i = 0; i < 10; ++i) trace.push_back({.arrives = 0.1 * i, .seconds = 60, .patience = 60});
  trace.push_back({.arrives = 60, .seconds = 5, .patience = 60});  // until then the autoscaler works
  FleetOptions options;
  options.metric = Metric::kRequests;
  options.target = 100;  // one server is enough
  options.scaling = ScalingOptions{.least = 1};
  options.scaling->up.policies = options.scaling->down.policies = {{ScalingPolicy::Kind::kPods, 1, 15}};
  options.pod.server.studio.max_lead = absl::Seconds(5);
  options.pod.lifecycle.shutdown_limit = absl::Seconds(10);
  const FleetOutcome cut = SimulateFleet(trace, table, options);
  EXPECT_GT(cut.cut, 0);
  EXPECT_EQ(cut.changes, 1);
  options.pod.drain = Drain::kHandOver;
  const FleetOutcome moved = SimulateFleet(trace, table, options);
  EXPECT_EQ(moved.changes, 1);
  EXPECT_EQ(moved.cut, 0);
  for (const Visit& visit : moved.visits) EXPECT_TRUE(visit.done);
}

TEST(FleetTest, WithoutAnyPodEverybodyIsTurnedAway) {
  const PassTable table = Table();
  FleetOptions options;
  options.pods = 0;
  const FleetOutcome outcome =
      SimulateFleet({{.arrives = 1, .seconds = 5}, {.arrives = 2, .seconds = 5}}, table, options);
  EXPECT_EQ(outcome.refusals.at("no_server"), 2);
  EXPECT_EQ(outcome.pod_seconds, 0);
}

TEST(ScenarioTest, FixedFleetsHaveWhatThePeakAndTheMeanNeed) {
  EXPECT_EQ(Day({}).peak_pods, 7);
  EXPECT_EQ(Day({}).mean_pods, 4);
  EXPECT_EQ(Day({}).first_pods, 2);
  EXPECT_EQ(Peak({}).peak_pods, 6);
  EXPECT_EQ(Peak({}).mean_pods, 3);
}

TEST(ScenarioTest, VisitorsComeAsTheLoadSays) {
  const PassTable table = Table();
  const auto arrivals = [&](const Scenario& scenario, double from, double to) {
    int count = 0;
    for (const Visitor& visitor : MakeTrace(scenario.trace, table))
      count += visitor.arrives >= from && visitor.arrives < to;
    return static_cast<double>(count);
  };
  const Scenario day = Day({}), peak = Peak({});
  EXPECT_NEAR(LoadAt(day.trace, 0), 0.3 * 4 * 0.5, 1e-9);
  EXPECT_NEAR(LoadAt(day.trace, 5400), 1.7 * 4 * 0.5, 1e-9);
  EXPECT_GT(arrivals(day, 4500, 6300), 4 * arrivals(day, 0, 900) + 4 * arrivals(day, 9900, 10800) / 2);
  EXPECT_NEAR(arrivals(peak, 900, 1800) / arrivals(peak, 0, 900), 4, 1);
  EXPECT_NEAR(arrivals(peak, 1800, 2700) / arrivals(peak, 0, 900), 1, 0.4);
}

}  // namespace
}  // namespace longtake::bench
