#include "scheduler/cost_model.h"

#include <array>
#include <limits>
#include <random>
#include <utility>

#include "gtest/gtest.h"

namespace longtake::scheduler {
namespace {

// 4 ms a batch, 30 ms a prompt, 10, 9 and 20 us a token.
double Truth(const Work& work) {
  return 0.004 + 0.03 * work.amount(PassKind::kEncodePrompt) + 10e-6 * work.amount(PassKind::kDenoise) +
         9e-6 * work.amount(PassKind::kCommit) + 20e-6 * work.amount(PassKind::kDecode);
}

Work RandomBatch(std::mt19937_64& random) {
  Work work;
  const int passes = 1 + static_cast<int>(random() % 12);
  for (int i = 0; i < passes; ++i) {
    const double tokens = random() % 2 == 0 ? 64 : 240;
    switch (random() % 16) {
      case 0:
        work.Add(PassKind::kEncodePrompt, 0);
        break;
      case 1:
      case 2:
        work.Add(PassKind::kCommit, 4 * tokens);
        break;
      case 3:
      case 4:
      case 5:
        work.Add(PassKind::kDecode, tokens);
        break;
      default:
        work.Add(PassKind::kDenoise, 4 * tokens);
        break;
    }
  }
  return work;
}

// Random batches, each taking `slower` times the truth.
void Teach(CostModel& model, std::mt19937_64& random, int batches, double slower = 1) {
  for (int i = 0; i < batches; ++i) {
    const Work work = RandomBatch(random);
    model.Observe(work, slower * Truth(work));
  }
}

TEST(CostModel, KnowsNothingBeforeTheFirstBatch) {
  const CostModel model;
  Work work;
  work.Add(PassKind::kDenoise, 1000);
  EXPECT_EQ(model.Predict(work), 0);
  EXPECT_EQ(model.error(), 0);
  EXPECT_FALSE(model.learned(LaneRole::kAll));
}

TEST(CostModel, ALaneIsLearnedWhenItsKindsWereSeen) {
  CostModel model;
  const auto see = [&](PassKind kind) {
    Work work;
    work.Add(kind, 1);
    model.Observe(work, 1);
  };
  see(PassKind::kDecode);
  EXPECT_TRUE(model.learned(LaneRole::kDecoder));
  EXPECT_FALSE(model.learned(LaneRole::kTransformer));
  see(PassKind::kDenoise);
  see(PassKind::kCommit);
  EXPECT_TRUE(model.learned(LaneRole::kAll)) << "text may come later";
}

TEST(CostModel, FindsFixedAndPerTokenParts) {
  CostModel model;
  std::mt19937_64 random(1);
  std::normal_distribution<double> noise(1, 0.03);
  for (int i = 0; i < 300; ++i) {
    const Work work = RandomBatch(random);
    model.Observe(work, Truth(work) * noise(random));
  }
  EXPECT_TRUE(model.learned(LaneRole::kAll));
  EXPECT_NEAR(model.fixed(), 0.004, 0.001);
  EXPECT_NEAR(model.Marginal(PassKind::kEncodePrompt, 0), 0.03, 0.003);
  EXPECT_NEAR(model.Marginal(PassKind::kDenoise, 960), 960 * 10e-6, 0.0005);
  EXPECT_NEAR(model.Alone(PassKind::kDecode, 240), 0.004 + 240 * 20e-6, 0.0015);
  // The mean of |noise| is 2.4 %; what the model adds to that is small.
  EXPECT_GT(model.error(), 0.01);
  EXPECT_LT(model.error(), 0.04);
  EXPECT_LT(model.error(PassKind::kDecode), 0.05);
}

// Fixed 4 ms: a batch of 76 ms and those holds what is worth sharing it.
TEST(CostModel, InCompanyTheFixedTimeIsShared) {
  CostModel model;
  std::mt19937_64 random(1);
  Teach(model, random, 2000);
  const auto in_company = [&](double tokens, int company) {
    return model.InCompany(PassKind::kDenoise, tokens, company);
  };
  EXPECT_EQ(in_company(960, 1), model.Alone(PassKind::kDenoise, 960));
  EXPECT_NEAR(in_company(960, 4), 960 * 10e-6 + 0.004 / 4, 1e-5);
  EXPECT_NEAR(in_company(960, 100), 960 * 10e-6 + 0.004 / 7, 1e-5) << "7 of 9.6 ms go into 76 ms";
  EXPECT_NEAR(in_company(9600, 100), 9600 * 10e-6 + 0.004, 1e-5) << "one is longer than that";
}

// Encoders take cores from one batch in three, which then takes twice as long: what counts is the sum.
TEST(CostModel, TogetherPredictionsAreWhatBatchesTook) {
  CostModel model;
  std::mt19937_64 random(5);
  double predicted = 0, took = 0;
  for (int i = 0; i < 4000; ++i) {
    const Work work = RandomBatch(random);
    const double seconds = Truth(work) * (random() % 3 == 0 ? 2.0 : 0.9);
    if (i >= 500) {
      predicted += model.Predict(work);
      took += seconds;
    }
    model.Observe(work, seconds);
  }
  EXPECT_NEAR(predicted / took, 1, 0.02);
}

TEST(CostModel, FollowsADeviceThatBecomesSlower) {
  CostModel model;
  std::mt19937_64 random(2);
  Teach(model, random, 2000);
  EXPECT_LT(model.error(), 0.01);
  Teach(model, random, 50, 2);
  EXPECT_GT(model.error(), 0.1) << "the metric must show that the device changed";
  Teach(model, random, 1500, 2);
  EXPECT_LT(model.error(), 0.05);
}

TEST(CostModel, IgnoresTimesThatAreNone) {
  CostModel model;
  Work work;
  work.Add(PassKind::kDenoise, 100);
  model.Observe(work, 0);
  model.Observe(work, -1);
  model.Observe(work, std::numeric_limits<double>::quiet_NaN());
  EXPECT_EQ(model.observations(), 0U);
  model.Observe(work, 0.5);
  EXPECT_NEAR(model.Predict(work), 0.5, 0.01);
}

// The same kinds in the same mix for hours, then something new: the old weights must stand.
TEST(CostModel, LongMonotonyDoesNotBlowUpTheWeights) {
  CostModel model;
  Work one;
  one.Add(PassKind::kDenoise, 960);
  for (int i = 0; i < 100'000; ++i) model.Observe(one, 0.0136);
  Work other;
  other.Add(PassKind::kDecode, 240);
  model.Observe(other, 0.0088);
  EXPECT_NEAR(model.Predict(one), 0.0136, 0.003);
  EXPECT_NEAR(model.Predict(other), 0.0088, 0.002);
}

// One pass a batch, as where nothing is gained by more, on a machine that others use: a tenth of the batches takes up
// to twenty times as long. Passes of a kind are all alike, so nothing tells the fixed part from theirs.
TEST(CostModel, StaysSaneOnARestlessMachine) {
  CostModel model;
  std::mt19937_64 random(3);
  std::uniform_real_distribution<double> pause(1, 20);
  const auto batch = [](PassKind kind) {
    Work work;
    work.Add(kind, kind == PassKind::kDecode ? 40 : 160);
    return work;
  };
  const std::array<std::pair<PassKind, double>, 4> kinds = {{{PassKind::kEncodePrompt, 0.004},
                                                             {PassKind::kDenoise, 0.0026},
                                                             {PassKind::kCommit, 0.0027},
                                                             {PassKind::kDecode, 0.026}}};
  for (int block = 0; block < 500; ++block) {
    for (int pass = 0; pass < 14; ++pass) {
      const auto& [kind, seconds] = kinds[pass == 0 ? 0 : pass < 9 ? 1 : pass == 9 ? 2 : 3];
      model.Observe(batch(kind), seconds * (random() % 10 == 0 ? pause(random) : 1));
      if (block < 5) continue;
      for (const auto& [other, alone] : kinds) {
        // The mean of the times is twice that of a quiet machine.
        ASSERT_GT(model.Predict(batch(other)), 0.3 * alone) << block;
        ASSERT_LT(model.Predict(batch(other)), 3 * alone) << block;
      }
    }
  }
  EXPECT_LT(model.error(), 1);
}

}  // namespace
}  // namespace longtake::scheduler
