#include "scheduler/promises.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "scheduler/tuning.h"

namespace longtake::scheduler {
namespace {

class PromisesTest : public testing::Test {
 protected:
  // One first chunk with this prediction, decoded and delivered so many seconds after the request. Returns whether it
  // was delivered as promised.
  bool Chunk(double predicted, double decoded, double delivered) {
    const SessionId id{++last_};
    const absl::Duration promised = promises.Promise(absl::Seconds(predicted), /*waits=*/false);
    promises.Given(id, now, absl::Seconds(predicted), promised);
    promises.Decoded(id, now + absl::Seconds(decoded));
    promises.Delivered(id, now + absl::Seconds(delivered));
    now += absl::Seconds(100);
    return absl::Seconds(delivered) <= promised;
  }
  double Promise(double predicted, bool waits = false) const {
    return absl::ToDoubleSeconds(promises.Promise(absl::Seconds(predicted), waits));
  }

  Promises promises;
  absl::Duration now;
  uint64_t last_ = 0;
};

TEST_F(PromisesTest, CoverEncodingAndSending) {
  for (int i = 0; i < 300; ++i) Chunk(1.0, 1.0, 1.25);
  EXPECT_NEAR(Promise(1.0), 1.25 * tuning::kFirstChunkBeyond, 1e-9);
  EXPECT_NEAR(Promise(0.5), 0.75 * tuning::kFirstChunkBeyond, 0.05) << "and 50 ms more count as scatter";
  EXPECT_GE(Promise(1.0, /*waits=*/true), 1.5) << "however well first chunks were predicted";
}

TEST_F(PromisesTest, AreCarefulBeforeAnythingIsKnown) {
  EXPECT_GE(Promise(1.0), 1.5);
  Chunk(1.0, 0.1, 0.2);
  EXPECT_GE(Promise(1.0), 1.5);
}

// Of waiting times with an exponential tail 0.1 % are above 6.9 times their mean.
TEST_F(PromisesTest, ReachBeyondWhatWasMeasured) {
  std::mt19937 random(7);
  std::exponential_distribution<double> wait(1 / 0.1);
  double sum = 0;
  constexpr int kRounds = 40;
  for (int round = 0; round < kRounds; ++round) {
    for (size_t i = 0; i < tuning::kWindow; ++i) {
      const double came = 1 + wait(random);
      Chunk(1, came, came);
    }
    sum += Promise(1) / tuning::kFirstChunkBeyond;
  }
  EXPECT_NEAR(sum / kRounds, 1 + 0.69, 0.1);
}

TEST_F(PromisesTest, FollowTheLateOnes) {
  for (int i = 0; i < 20; ++i) Chunk(1, 1, 1);
  Chunk(1, 9, 9);
  EXPECT_GT(Promise(1), 2.5) << "one in twenty was late";
}

TEST_F(PromisesTest, ForgetOutliersWhereverTheyWere) {
  for (const int before : {1, 20, 300}) {
    for (size_t i = 0; i < tuning::kWindow; ++i) Chunk(1, 1, 1);  // forgets the round before
    for (int i = 0; i < before; ++i) Chunk(1, 1, 1);
    for (int i = 0; i < 5; ++i) Chunk(1, 9, 9);
    EXPECT_GT(Promise(1), 2.5) << "two in a hundred were late";
    EXPECT_LT(Promise(1), 9) << "one that is late by nine says little of the others";
    for (size_t i = 0; i < tuning::kWindow; ++i) Chunk(1, 1, 1);
    EXPECT_LT(Promise(1), 1.1);
  }
}

TEST_F(PromisesTest, AreNeverShorterThanWhatAViewerNotices) {
  for (int i = 0; i < 300; ++i) Chunk(0.001, 0.001, 0.002);
  EXPECT_NEAR(Promise(0.001), 0.05, 1e-9);
}

TEST_F(PromisesTest, CountTheBrokenOnesOfThoseWhoLeft) {
  promises.Given(SessionId{1}, now, absl::Seconds(1), absl::Seconds(2));
  promises.Ended(SessionId{1}, now + absl::Seconds(1.5), /*whole=*/false);
  EXPECT_EQ(promises.given(), 0U) << "it left before anything was broken";
  promises.Given(SessionId{2}, now, absl::Seconds(1), absl::Seconds(2));
  promises.Ended(SessionId{2}, now + absl::Seconds(3), /*whole=*/false);
  EXPECT_EQ(promises.given(), 1U);
  EXPECT_EQ(promises.kept(), 0U);
  EXPECT_EQ(promises.confidence(), 1.0 / 3);
}

// A video of one block is made before its chunk has gone out.
TEST_F(PromisesTest, SlowClientsDoNotLengthenTheOthersPromises) {
  for (int i = 0; i < 300; ++i) Chunk(1.0, 1.0, i % 20 == 0 ? 3.0 : 1.02);
  EXPECT_LT(Promise(1.0), 1.25);
  EXPECT_EQ(promises.kept(), promises.given());
}

TEST_F(PromisesTest, CountShortVideos) {
  promises.Given(SessionId{1}, now, absl::Seconds(1), absl::Seconds(2));
  promises.Decoded(SessionId{1}, now + absl::Seconds(1));
  promises.Ended(SessionId{1}, now + absl::Seconds(1), /*whole=*/true);
  promises.Delivered(SessionId{1}, now + absl::Seconds(1.5));
  EXPECT_EQ(promises.kept(), 1U);
  promises.Delivered(SessionId{1}, now + absl::Seconds(5));
  EXPECT_EQ(promises.given(), 1U) << "only the first delivery counts";
}

// Predictions that are wrong by a factor around 1.3 with a spread of 10 %, and encoding of 20 to 60 ms.
TEST_F(PromisesTest, AreKeptAndStayNear) {
  std::mt19937 random(1);
  std::normal_distribution<double> spread(std::log(1.3), 0.1);
  std::uniform_real_distribution<double> encode(0.02, 0.06), first(0.1, 1.0);
  int kept = 0, given = 0;
  std::vector<double> ratios;
  for (int i = 0; i < 3000; ++i) {
    const double predicted = first(random), promised = Promise(predicted);
    const double decoded = predicted * std::exp(spread(random)), delivered = decoded + encode(random);
    const bool in_time = Chunk(predicted, decoded, delivered);
    if (i < 300) continue;
    ++given;
    kept += in_time;
    ratios.push_back(promised / delivered);
  }
  EXPECT_GE(kept, given * 0.997);
  std::nth_element(ratios.begin(), ratios.begin() + static_cast<std::ptrdiff_t>(ratios.size() / 2), ratios.end());
  EXPECT_LE(ratios[ratios.size() / 2], 1.55);
}

}  // namespace
}  // namespace longtake::scheduler
