// The autoscaler's arithmetic, against Kubernetes' rules worked out by hand.
#include "bench/serving/fleet/autoscaler.h"

#include <optional>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace longtake::bench {
namespace {

using testing::ElementsAre;
using testing::Eq;
using testing::Optional;
using Kind = ScalingPolicy::Kind;

ScalingRules Rules(std::vector<ScalingPolicy> policies, double window = 0) {
  ScalingRules rules;
  rules.window = window;
  rules.policies = std::move(policies);
  return rules;
}

// Anything may change at once.
ScalingRules Free(double window = 0) { return Rules({{Kind::kPods, 100, 15}}, window); }

TEST(PodsForTotalTest, AsManyAsTheTotalNeeds) {
  EXPECT_EQ(PodsForTotal(60, 15, 2), 4);
  EXPECT_EQ(PodsForTotal(61, 15, 2), 5) << "the rest needs a pod, too";
  EXPECT_EQ(PodsForTotal(1, 15, 4), 1);
  EXPECT_EQ(PodsForTotal(0, 15, 4), 0);
}

TEST(PodsForTotalTest, CloseToTheTargetNothingChanges) {
  EXPECT_EQ(PodsForTotal(66, 15, 4), 4) << "a tenth above";
  EXPECT_EQ(PodsForTotal(67, 15, 4), 5);
  EXPECT_EQ(PodsForTotal(54, 15, 4), 4) << "a tenth below";
  EXPECT_EQ(PodsForTotal(44, 15, 4), 3);
}

// With one pod more than is asked for, that shuts down: the controller then asks for that one again.
TEST(PodsForTotalTest, CloseToTheTargetThePodsThatShutDownAreAskedForAgain) { EXPECT_EQ(PodsForTotal(60, 15, 4), 4); }

TEST(PodsForValuesTest, TheMeanDecides) {
  EXPECT_THAT(PodsForValues({.known = {0.9, 0.5}}, 0.5, 1, 2), Optional(3));  // 2 x 0.7 / 0.5 = 2.8
  EXPECT_THAT(PodsForValues({.known = {0.2, 0.2, 0.2}}, 0.6, 1, 3), Optional(1));
  EXPECT_THAT(PodsForValues({.known = {0.54, 0.56}}, 0.5, 1, 2), Optional(2)) << "a tenth above";
}

TEST(PodsForValuesTest, WithoutAnyValueNothingIsRecommended) {
  EXPECT_THAT(PodsForValues({.unready = 2, .missing = 1}, 0.5, 1, 3), Eq(std::nullopt));
}

TEST(PodsForValuesTest, PodsThatStartCountAsIdleWhereItGoesUp) {
  // 2 x 1.0 / 0.5 = 4 pods; with the two that start the mean is at the target.
  EXPECT_THAT(PodsForValues({.known = {1, 1}, .unready = 2}, 0.5, 1, 4), Optional(4));
  EXPECT_THAT(PodsForValues({.known = {1, 1}, .unready = 1}, 0.5, 1, 3), Optional(4));
  EXPECT_THAT(PodsForValues({.known = {0.1, 0.1}, .unready = 2}, 0.5, 1, 4), Optional(1)) << "they do not hold it down";
}

TEST(PodsForValuesTest, WhatIsMissingSpeaksAgainstTheChange) {
  EXPECT_THAT(PodsForValues({.known = {1, 1}, .missing = 1}, 0.5, 1, 3), Optional(4)) << "idle, where it goes up";
  EXPECT_THAT(PodsForValues({.known = {0.1, 0.1}, .missing = 1}, 0.5, 1, 3), Optional(3))
      << "1.2 / 3 = 0.4: still down";
  EXPECT_THAT(PodsForValues({.known = {0.1, 0.4}, .missing = 2}, 0.5, 1, 4), Optional(4)) << "it would go up instead";
  EXPECT_THAT(PodsForValues({.known = {0.6}, .missing = 3}, 0.5, 1, 4), Optional(4)) << "it would go down instead";
}

TEST(AutoscalerTest, KeepsToTheLimits) {
  Autoscaler scaler({.least = 2, .most = 8, .up = Free(), .down = Free()});
  EXPECT_EQ(scaler.Next(0, 4, 20), 8);
  EXPECT_EQ(scaler.Next(15, 8, 0), 2);
  EXPECT_EQ(scaler.Next(30, 10, 10), 8) << "somebody asked for more than may be";
  EXPECT_EQ(scaler.Next(45, 1, std::nullopt), 2);
}

TEST(AutoscalerTest, WithoutAMetricNothingChanges) {
  Autoscaler scaler({.up = Free(), .down = Free()});
  EXPECT_EQ(scaler.Next(0, 4, std::nullopt), 4);
  EXPECT_EQ(scaler.Next(15, 4, 2), 2) << "what was not there does not count as a recommendation";
}

TEST(AutoscalerTest, GoesDownToTheMostThatWasRecommendedWithinTheWindow) {
  Autoscaler scaler({.up = Free(), .down = Free(600)});
  EXPECT_EQ(scaler.Next(0, 6, 6), 6);
  EXPECT_EQ(scaler.Next(15, 6, 3), 6);
  EXPECT_EQ(scaler.Next(300, 6, 5), 6);
  EXPECT_EQ(scaler.Next(599, 6, 3), 6);
  EXPECT_EQ(scaler.Next(600, 6, 3), 5) << "the 6 is ten minutes old";
  EXPECT_EQ(scaler.Next(899, 5, 3), 5);
  EXPECT_EQ(scaler.Next(900, 5, 3), 3);
}

TEST(AutoscalerTest, GoesUpToTheLeastThatWasRecommendedWithinTheWindow) {
  Autoscaler scaler({.up = Free(60), .down = Free()});
  EXPECT_EQ(scaler.Next(0, 2, 2), 2);
  EXPECT_EQ(scaler.Next(15, 2, 7), 2);
  EXPECT_EQ(scaler.Next(59, 2, 5), 2);
  EXPECT_EQ(scaler.Next(60, 2, 6), 5);
  EXPECT_EQ(scaler.Next(75, 5, 6), 5);
}

TEST(AutoscalerTest, DoublesAtMostOnceAMinute) {
  Autoscaler scaler({.most = 20, .up = Rules({{Kind::kPercent, 100, 60}}), .down = Free()});
  std::vector<int> pods = {3};
  for (int i = 0; i < 9; ++i) pods.push_back(scaler.Next(15 * i, pods.back(), 20));
  EXPECT_THAT(pods, ElementsAre(3, 6, 6, 6, 6, 12, 12, 12, 12, 20));
}

TEST(AutoscalerTest, PartsOfAPodAreRoundedUpwards) {
  Autoscaler up({.up = Rules({{Kind::kPercent, 10, 60}}), .down = Free()});
  EXPECT_EQ(up.Next(0, 2, 8), 3) << "2.2: else it would never grow";
  Autoscaler down({.up = Free(), .down = Rules({{Kind::kPercent, 30, 60}})});
  EXPECT_EQ(down.Next(0, 8, 2), 5) << "5.6, cut off";
}

TEST(AutoscalerTest, GivesUpOnePodInFiveMinutes) {
  Autoscaler scaler({.up = Free(), .down = Rules({{Kind::kPods, 1, 300}})});
  EXPECT_EQ(scaler.Next(0, 6, 2), 5);
  EXPECT_EQ(scaler.Next(285, 5, 2), 5);
  EXPECT_EQ(scaler.Next(300, 5, 2), 4);
}

// The pods at the period's begin count, whichever way it went since.
TEST(AutoscalerTest, WhatWasAddedMayBeRemovedAgain) {
  Autoscaler scaler({.up = Free(), .down = Rules({{Kind::kPods, 1, 300}})});
  EXPECT_EQ(scaler.Next(0, 4, 7), 7);
  EXPECT_EQ(scaler.Next(15, 7, 2), 3) << "one fewer than five minutes ago";
  EXPECT_EQ(scaler.Next(30, 3, 2), 3);
  EXPECT_EQ(scaler.Next(315, 3, 2), 2) << "the period begins with 3";
}

TEST(AutoscalerTest, OfSeveralPoliciesTheOneThatPermitsMostHolds) {
  Autoscaler scaler({.most = 50, .up = Rules({{Kind::kPercent, 100, 15}, {Kind::kPods, 4, 15}}), .down = Free()});
  EXPECT_EQ(scaler.Next(0, 2, 50), 6);
  EXPECT_EQ(scaler.Next(15, 6, 50), 12);
}

}  // namespace
}  // namespace longtake::bench
