#include "server/video/quote_correction.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "gtest/gtest.h"

namespace longtake::server {
namespace {

TEST(QuoteCorrection, AddsWhatEncodingAndSendingTake) {
  QuoteCorrection correction;
  for (int i = 0; i < 50; ++i) correction.Observe(1.0, 2, 1.0, 1.25);
  EXPECT_NEAR(correction.Promise(1.0), 1.25 * 1.05, 1e-9);
  EXPECT_NEAR(correction.Promise(0.5), 0.75 * 1.05, 0.05) << "and 50 ms more count as scatter";
}

TEST(QuoteCorrection, IsCarefulBeforeItKnows) {
  QuoteCorrection correction;
  EXPECT_GE(correction.Promise(1.0), 1.5);
  correction.Observe(1.0, 2, 0.1, 0.2);
  EXPECT_GE(correction.Promise(1.0), 1.5);
}

TEST(QuoteCorrection, KnowsHowOftenItWasKept) {
  QuoteCorrection correction;
  EXPECT_EQ(correction.Confidence(), 0.5);
  for (int i = 0; i < 6; ++i) correction.Observe(1, i < 4 ? 2 : 1, 1.2, 1.5);
  EXPECT_EQ(correction.Confidence(), 5.0 / 8);
}

TEST(QuoteCorrection, ForgetsAnOutlier) {
  QuoteCorrection correction;
  for (int i = 0; i < 20; ++i) correction.Observe(1, 2, 1, 1);
  correction.Observe(1, 2, 9, 9);
  EXPECT_GT(correction.Promise(1), 2.5) << "it was late";
  EXPECT_LT(correction.Promise(1), 9) << "but one that is late by nine says little of the others";
  for (size_t i = 0; i <= QuoteCorrection::kWindow; ++i) correction.Observe(1, 2, 1, 1);
  EXPECT_LT(correction.Promise(1), 1.1);
}

// Predictions that are wrong by a factor around 1.3 with a spread of 10 %, and encoding of 20 to 60 ms.
TEST(QuoteCorrection, KeepsPromisesAndStaysNear) {
  QuoteCorrection correction;
  std::mt19937 random(1);
  std::normal_distribution<double> spread(std::log(1.3), 0.1);
  std::uniform_real_distribution<double> encode(0.02, 0.06), first(0.1, 1.0);
  int kept = 0, quotes = 0;
  std::vector<double> ratios;
  for (int i = 0; i < 3000; ++i) {
    const double predicted = first(random), promised = correction.Promise(predicted);
    const double decoded = predicted * std::exp(spread(random)), delivered = decoded + encode(random);
    correction.Observe(predicted, promised, decoded, delivered);
    if (i < 300) continue;
    ++quotes;
    kept += delivered <= promised;
    ratios.push_back(promised / delivered);
  }
  EXPECT_GE(kept, quotes * 0.99);
  std::nth_element(ratios.begin(), ratios.begin() + ratios.size() / 2, ratios.end());
  EXPECT_LE(ratios[ratios.size() / 2], 1.5);
}

}  // namespace
}  // namespace longtake::server
