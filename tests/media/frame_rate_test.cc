#include <cmath>
#include <limits>

#include "gtest/gtest.h"
#include "server/media/media.h"

namespace longtake::media {
namespace {

TEST(FrameRate, IsTheOneThatADecimalNumberMeans) {
  struct Case {
    double fps;
    FrameRate rate;
  };
  const Case cases[] = {
      {16, {16, 1}},           {24, {24, 1}},          {23.976, {24000, 1001}}, {24000.0 / 1001, {24000, 1001}},
      {29.97, {30000, 1001}},  {59.94, {60000, 1001}}, {12.5, {25, 2}},         {0.5, {1, 2}},
      {16.667, {16667, 1000}}, {1000, {1000, 1}},      {0.001, {1, 1000}},
  };
  for (const Case& c : cases) {
    const auto rate = FrameRateFrom(c.fps);
    ASSERT_TRUE(rate.ok()) << rate.status();
    EXPECT_EQ(*rate, c.rate) << c.fps << ": " << rate->numerator << "/" << rate->denominator;
  }
  for (const double fps : {0.0, -16.0, 0.0009, 1001.0, std::nan(""), std::numeric_limits<double>::infinity()}) {
    EXPECT_EQ(FrameRateFrom(fps).status().code(), absl::StatusCode::kInvalidArgument) << fps;
  }
}

TEST(FrameRate, TimesDoNotDrift) {
  const FrameRate rate = {.numerator = 24000, .denominator = 1001};
  EXPECT_EQ(rate.TimeOf(0), absl::ZeroDuration());
  EXPECT_EQ(rate.TimeOf(24000), absl::Seconds(1001));
  EXPECT_EQ(rate.TimeOf(24'000'000'000), absl::Seconds(1'001'000'000));
  EXPECT_NEAR(absl::ToDoubleSeconds(rate.TimeOf(1)), 1001.0 / 24000, 1e-9);
}

}  // namespace
}  // namespace longtake::media
