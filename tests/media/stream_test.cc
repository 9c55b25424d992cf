#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/media/support.h"

namespace longtake::media {
namespace {

constexpr StreamFormat kFormat = {.width = 64, .height = 48, .rate = {.numerator = 16}, .frames = 100};

TEST(Stream, TheMediaTypeIsThatOfTheDecoderConfiguration) {
  for (const auto& [width, height] : {std::pair(64, 48), std::pair(256, 160), std::pair(832, 480)}) {
    StreamFormat format = kFormat;
    format.width = width;
    format.height = height;
    const Stream stream = Describe(format);
    const std::string avcc = Find(ParseBoxes(stream.init_segment), "moov/trak/mdia/minf/stbl/stsd/avc1/avcC").body;
    ASSERT_GT(avcc.size(), 4u);
    EXPECT_EQ(stream.media_type, absl::StrCat("video/mp4; codecs=\"avc1.",
                                              absl::AsciiStrToUpper(absl::BytesToHexString(avcc.substr(1, 3))), "\""));
    EXPECT_EQ(avcc[1], 100);  // High profile, whose record ends in four more bytes
  }
}

TEST(Stream, TheLevelIsAtLeast31) {
  const auto media_type = [](int width, int height, int fps) {
    return Describe({.width = width, .height = height, .rate = {.numerator = fps}, .frames = 1}).media_type;
  };
  EXPECT_EQ(media_type(64, 48, 16), "video/mp4; codecs=\"avc1.64001F\"");
  EXPECT_EQ(media_type(832, 480, 16), "video/mp4; codecs=\"avc1.64001F\"");
  EXPECT_EQ(media_type(1280, 720, 30), "video/mp4; codecs=\"avc1.64001F\"");
  EXPECT_EQ(media_type(1280, 720, 31), "video/mp4; codecs=\"avc1.640020\"");
  EXPECT_EQ(media_type(1920, 1080, 30), "video/mp4; codecs=\"avc1.640028\"");
}

TEST(Stream, TheInitSegmentHasTheWholeDurationAndNoTime) {
  const std::vector<Box> boxes = ParseBoxes(Describe(kFormat).init_segment);
  ASSERT_EQ(boxes.size(), 2u);
  EXPECT_EQ(boxes[0].type, "ftyp");
  const std::string& mvhd = Find(boxes, "moov/mvhd").body;
  EXPECT_EQ(Number(mvhd, 4, 8), 0u);   // creation and modification
  EXPECT_EQ(Number(mvhd, 16, 4), 0u);  // duration of what is in moov itself
  const uint64_t per_second = Number(mvhd, 12, 4);
  EXPECT_EQ(Number(Find(boxes, "moov/trak/mdia/mdhd").body, 12, 4), per_second);
  const std::string& mehd = Find(boxes, "moov/mvex/mehd").body;
  EXPECT_EQ(mehd[0], 1);  // 64 bits
  EXPECT_EQ(Number(mehd, 4, 8), 100 * per_second / 16);
}

TEST(Stream, DependsOnTheFormatAlone) {
  EXPECT_EQ(Describe(kFormat).init_segment, Describe(kFormat).init_segment);
  StreamFormat longer = kFormat;
  ++longer.frames;
  EXPECT_NE(Describe(kFormat).init_segment, Describe(longer).init_segment);
}

TEST(Stream, RefusesWhatCannotBeEncoded) {
  struct Case {
    StreamFormat format;
    absl::StatusCode code;
    const char* says;
  };
  const FrameRate rate = kFormat.rate;
  const std::vector<Case> cases = {
      {{63, 48, rate, 1}, absl::StatusCode::kInvalidArgument, "63x48"},
      {{64, 0, rate, 1}, absl::StatusCode::kInvalidArgument, "64x0"},
      {{64, 48, {0, 1}, 1}, absl::StatusCode::kInvalidArgument, "rate: 0/1"},
      {{64, 48, {16, 0}, 1}, absl::StatusCode::kInvalidArgument, "rate: 16/0"},
      {{64, 48, {16, -1}, 1}, absl::StatusCode::kInvalidArgument, "rate: 16/-1"},
      {{64, 48, {1001, 1}, 1}, absl::StatusCode::kInvalidArgument, "rate: 1001/1"},
      {{64, 48, {1, 1001}, 1}, absl::StatusCode::kInvalidArgument, "rate: 1/1001"},
      {{64, 48, rate, 0}, absl::StatusCode::kInvalidArgument, "frames: 0"},
      {{16386, 48, rate, 1}, absl::StatusCode::kInternal, "invalid width x height (16386x48)"},
  };
  for (const Case& c : cases) {
    const absl::Status status = DescribeStream(c.format).status();
    EXPECT_EQ(status.code(), c.code);
    EXPECT_THAT(std::string(status.message()), testing::HasSubstr(c.says));
  }
}

}  // namespace
}  // namespace longtake::media
