#include "scheduler/forecast.h"

#include <algorithm>
#include <random>
#include <vector>

#include "gtest/gtest.h"

namespace longtake::scheduler {
namespace {

TEST(Forecast, AnEmptyDeviceTakesWhatItCanKeepUpWith) {
  Forecast forecast(0.9, /*company=*/1);
  forecast.Sort();
  EXPECT_NEAR(forecast.FirstChunk(0.45), 0.5, 1e-9);
  EXPECT_TRUE(forecast.Fits({.at = 0.5, .work = 0.45, .slopes = {{{0.9, 60}}}}, 0));
  EXPECT_FALSE(forecast.Fits({.at = 0.5, .work = 0.45, .slopes = {{{0.91, 60}}}}, 0));
  EXPECT_FALSE(forecast.Fits({.at = 0.4, .work = 0.45, .slopes = {{{0.1, 60}}}}, 0));
}

// 0.6 + 0.6 of the device is too much while both play; with a lead of ten seconds the first has 20 s for its last ten.
TEST(Forecast, ALeadMakesRoom) {
  const Demand next = {.at = 0.7, .work = 0.6, .slopes = {{{0.6, 10}}}};
  Forecast none(1, /*company=*/1);
  none.Add({.at = 0, .work = 0, .slopes = {{{0.6, 20}}}});
  none.Sort();
  EXPECT_FALSE(none.Fits(next, 0));
  Forecast lead(1, /*company=*/1);
  lead.Add({.at = 10, .work = 0, .slopes = {{{0.6, 10}}}});
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
      all.push_back({.at = uniform(0, 20),
                     .work = uniform(0, 0.3),
                     .slopes = {{{uniform(0.05, 0.3), uniform(0, 10)},
                                 {uniform(0.05, 0.3), uniform(0, 10)},
                                 {uniform(0.05, 0.3), uniform(0, 10)}}}});
      forecast.Add(all.back());
    }
    forecast.Sort();
    Demand next = {.work = uniform(0.05, 0.3),
                   .slopes = {{{uniform(0.05, 0.5), uniform(0, 15)}, {uniform(0.05, 0.5), uniform(0, 15)}}}};
    next.at = forecast.FirstChunk(next.work);
    const auto by = [](const Demand& demand, double t) {
      if (t < demand.at) return 0.0;
      double due = demand.work;
      t -= demand.at;
      for (const Demand::Slope& slope : demand.slopes) {
        due += slope.rate * std::clamp(t, 0.0, slope.length);
        t -= slope.length;
      }
      return due;
    };
    // The sums are linear but where a demand begins or one of its slopes ends.
    std::vector<double> times;
    for (const Demand& demand : all) {
      times.push_back(demand.at);
      for (const Demand::Slope& slope : demand.slopes) times.push_back(times.back() + slope.length);
    }
    times.push_back(next.at);
    for (const Demand::Slope& slope : next.slopes) times.push_back(times.back() + slope.length);
    double worst = 0;  // how far the device would be behind
    for (double t : times) {
      if (t < next.at) continue;
      double due = by(next, t);
      for (const Demand& demand : all) due += by(demand, t);
      worst = std::max(worst, due - capacity * t);
    }
    EXPECT_EQ(forecast.Fits(next, 0), worst < 1e-6) << round << " behind by " << worst;
    ++(worst < 1e-6 ? fitted : refused);

    next.at = next.work / capacity;
    if (!Forecast(capacity, 1).Fits(next, 0)) continue;  // not even alone
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
  forecast.Add({.at = 2, .work = 1, .slopes = {{{0.1, 10}}}});
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
