#include "server/media/x264_encoder.h"

#include <algorithm>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/media/support.h"

namespace longtake::media {
namespace {

using testing::HasSubstr;

constexpr StreamFormat kFormat = {.width = 64, .height = 48, .rate = {.numerator = 16}, .frames = 100};

TEST(X264Encoder, RefusesOptionsThatX264DoesNotKnow) {
  const X264Option typo[] = {{"deadzone-intar", "6"}};
  const absl::Status name = X264Encoder::Open(kFormat, typo).status();
  EXPECT_EQ(name.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(name.message()), HasSubstr("deadzone-intar=6: there is no such option"));

  const X264Option text[] = {{"deadzone-intra", "six"}};
  const absl::Status value = X264Encoder::Open(kFormat, text).status();
  EXPECT_EQ(value.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(value.message()), HasSubstr("deadzone-intra=six: invalid value"));
}

TEST(X264Encoder, SaysWhatX264SaidWhenItDoesNotOpen) {
  StreamFormat format = kFormat;
  format.width = 16386;
  const absl::Status status = X264Encoder::Open(format).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(status.message()), HasSubstr("x264 did not open: invalid width x height (16386x48)"));
}

TEST(X264Encoder, AFrameThatIsHeldBackIsAnError) {
  const X264Option delay[] = {{"bframes", "2"}};
  auto encoder = X264Encoder::Open(kFormat, delay);
  ASSERT_TRUE(encoder.ok()) << encoder.status();
  std::string out = "before";
  const absl::Status status = (*encoder)->Encode(MovingBar(kFormat, 0, 1), true, out);
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(status.message()), HasSubstr("held back frame 0"));
  EXPECT_EQ(out, "before");
}

TEST(X264Encoder, EachHasTheSameParameterSets) {
  auto first = X264Encoder::Open(kFormat), second = X264Encoder::Open(kFormat);
  ASSERT_TRUE(first.ok() && second.ok());
  std::string out;
  ASSERT_TRUE((*first)->Encode(MovingBar(kFormat, 0, 1), true, out).ok());
  EXPECT_EQ((*first)->parameter_sets().sps, (*second)->parameter_sets().sps);
  EXPECT_EQ((*first)->parameter_sets().pps, (*second)->parameter_sets().pps);
}

// Types of an access unit's NAL units.
std::vector<int> Types(absl::string_view unit) {
  std::vector<int> types;
  while (!unit.empty()) {
    const uint64_t bytes = Number(unit, 0, 4);
    EXPECT_LE(bytes + 4, unit.size());
    types.push_back(unit[4] & 31);
    unit.remove_prefix(std::min<size_t>(bytes + 4, unit.size()));
  }
  return types;
}

TEST(X264Encoder, AnAccessUnitIsOnePictureAndNothingElse) {
  auto encoder = X264Encoder::Open(kFormat);
  ASSERT_TRUE(encoder.ok());
  constexpr int kSlice = 1, kIdrSlice = 5, kDelimiter = 9;
  for (int frame = 0; frame < 40; ++frame) {
    std::string out;
    ASSERT_TRUE((*encoder)->Encode(MovingBar(kFormat, frame, 1), frame == 0, out).ok());
    EXPECT_EQ(Types(out), frame == 0 ? std::vector<int>({kDelimiter, kIdrSlice}) : std::vector<int>({kSlice}));
  }
}

}  // namespace
}  // namespace longtake::media
