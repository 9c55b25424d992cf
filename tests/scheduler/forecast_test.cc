#include "scheduler/forecast.h"

#include <random>

#include "gtest/gtest.h"

namespace longtake::scheduler {
namespace {

TEST(Forecast, AnEmptyDeviceTakesWhatItCanKeepUpWith) {
  Forecast forecast(0.9, /*company=*/1);
  forecast.Sort();
  EXPECT_NEAR(forecast.FirstChunk(0.45), 0.5, 1e-9);
  EXPECT_TRUE(forecast.Fits({.at = 0.5, .work = 0.45, .rate = 0.9, .length = 60}, 0));
  EXPECT_FALSE(forecast.Fits({.at = 0.5, .work = 0.45, .rate = 0.91, .length = 60}, 0));
  EXPECT_FALSE(forecast.Fits({.at = 0.4, .work = 0.45, .rate = 0.1, .length = 60}, 0));
}

// 0.6 + 0.6 of the device is too much while both play; with a lead of ten seconds the first has 20 s for its last ten.
TEST(Forecast, ALeadMakesRoom) {
  const Demand next = {.at = 0.7, .work = 0.6, .rate = 0.6, .length = 10};
  Forecast none(1, /*company=*/1);
  none.Add({.at = 0, .work = 0, .rate = 0.6, .length = 20});
  none.Sort();
  EXPECT_FALSE(none.Fits(next, 0));
  Forecast lead(1, /*company=*/1);
  lead.Add({.at = 10, .work = 0, .rate = 0.6, .length = 10});
  lead.Sort();
  EXPECT_TRUE(lead.Fits(next, 0));
}

// The bound against its definition: every chunk of every stream, at the moment at which it is due.
TEST(Forecast, AgreesWithCountingChunks) {
  std::mt19937_64 random(1);
  const auto uniform = [&](double low, double high) {
    return low + (high - low) * static_cast<double>(random() >> 11) * 0x1p-53;
  };
  int fitted = 0, refused = 0;
  for (int round = 0; round < 2000; ++round) {
    const double capacity = uniform(0.5, 1);
    std::vector<Demand> all;
    Forecast forecast(capacity, /*company=*/1);
    for (int i = 0, n = static_cast<int>(uniform(0, 6)); i < n; ++i) {
      all.push_back(
          {.at = uniform(0, 20), .work = uniform(0, 0.3), .rate = uniform(0.05, 0.3), .length = uniform(0, 30)});
      forecast.Add(all.back());
    }
    forecast.Sort();
    Demand next = {.work = uniform(0.05, 0.3), .rate = uniform(0.05, 0.5), .length = uniform(0, 30)};
    next.at = forecast.FirstChunk(next.work);
    const auto by = [](const Demand& demand, double t) {
      return t < demand.at ? 0 : demand.work + demand.rate * std::min(t - demand.at, demand.length);
    };
    double worst = 0;  // how far the device would be behind
    for (double t = next.at; t < 60; t += 0.01) {
      double due = by(next, t);
      for (const Demand& demand : all) due += by(demand, t);
      worst = std::max(worst, due - capacity * t);
    }
    if (std::abs(worst) < 0.02 && worst != 0) continue;  // between two steps of t
    EXPECT_EQ(forecast.Fits(next, 0), worst == 0) << round << " behind by " << worst;
    ++(worst == 0 ? fitted : refused);

    next.at = next.work / capacity;
    if (next.rate > capacity) continue;
    const double start = forecast.EarliestStart(next);
    EXPECT_TRUE(forecast.Fits(next, start));
    if (start > 0.1) {
      EXPECT_FALSE(forecast.Fits(next, 0.9 * start - 0.05));
    }
  }
  EXPECT_GT(fitted, 200);
  EXPECT_GT(refused, 200);
}

TEST(Forecast, SaysWhenWhatIsDueIsDone) {
  Forecast forecast(0.5, /*company=*/1);
  forecast.Add({.at = 2, .work = 1, .rate = 0.1, .length = 10});
  forecast.Sort();
  const std::vector<double> done = forecast.DoneBy({12, 1, 2, 100});
  ASSERT_EQ(done.size(), 4U);
  EXPECT_NEAR(done[0], 0, 1e-9);
  EXPECT_NEAR(done[1], 2, 1e-9);
  EXPECT_NEAR(done[2], 4, 1e-9);
  EXPECT_NEAR(done[3], 4, 1e-9);
}

}  // namespace
}  // namespace longtake::scheduler
