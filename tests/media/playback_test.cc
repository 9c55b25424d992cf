// What ffmpeg's tools make of the files.
#include <cmath>
#include <cstdlib>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gtest/gtest.h"
#include "tests/media/support.h"

namespace longtake::media {
namespace {

constexpr StreamFormat kFormat = {.width = 64, .height = 48, .rate = {.numerator = 16}, .frames = 61};

struct Frame {
  bool key_frame = false;
  double seconds = 0;
};

std::vector<Frame> Frames(const std::string& bytes, const std::string& more = "") {
  std::vector<Frame> frames;
  for (const std::string& line :
       Probe(bytes, absl::StrCat("-select_streams v -show_entries frame=pts_time,key_frame ", more))) {
    const std::vector<std::string> fields = absl::StrSplit(line, ',');
    Frame frame = {.key_frame = fields[0] == "1"};
    EXPECT_TRUE(fields.size() == 2 && absl::SimpleAtod(fields[1], &frame.seconds)) << line;
    frames.push_back(frame);
  }
  return frames;
}

TEST(Playback, EveryFrameIsThereAtItsTimeAndBlocksBeginWithKeyFrames) {
  for (const FrameRate rate : {FrameRate{16, 1}, FrameRate{24000, 1001}, FrameRate{30000, 1001}}) {
    StreamFormat format = kFormat;
    format.rate = rate;
    // Some chunks of one frame, and blocks of one frame, so that two key frames follow each other.
    const std::vector<std::vector<int>> blocks = {{1}, {1}, {1, 4, 4, 4}, {4, 4, 4, 4}, {4, 4, 4, 4}, {12}, {1, 1}};
    const Stream stream = Describe(format);
    const std::string file = File(stream, EncodeVideo(stream, blocks));
    const std::vector<Frame> frames = Frames(file);
    ASSERT_EQ(frames.size(), 61u);
    size_t frame = 0;
    for (const std::vector<int>& chunks : blocks) {
      bool first = true;
      for (const int count : chunks) {
        for (int i = 0; i < count; ++i, ++frame, first = false) {
          EXPECT_EQ(frames[frame].key_frame, first) << "frame " << frame;
          EXPECT_NEAR(frames[frame].seconds, absl::ToDoubleSeconds(rate.TimeOf(static_cast<int64_t>(frame))), 1e-6);
        }
      }
    }
    const std::vector<std::string> lines =
        Probe(file, "-show_entries stream=r_frame_rate,avg_frame_rate,nb_read_frames -count_frames");
    const std::string fps = absl::StrCat(rate.numerator, "/", rate.denominator);
    EXPECT_EQ(lines, std::vector<std::string>({absl::StrCat(fps, ",", fps, ",61")}));
  }
}

TEST(Playback, SaysSizeAndColours) {
  StreamFormat format = kFormat;
  format.frames = 5;
  const Stream stream = Describe(format);
  const std::vector<std::string> lines =
      Probe(File(stream, EncodeVideo(stream, {{5}})),
            "-show_entries stream=codec_name,profile,width,height,pix_fmt,color_range,color_space,color_transfer,"
            "color_primaries,chroma_location,has_b_frames");
  EXPECT_EQ(lines, std::vector<std::string>({"h264,High,64,48,0,yuv420p,tv,bt709,bt709,bt709,left"}));
}

TEST(Playback, EachBlockPlaysAfterTheInitSegmentAlone) {
  const Stream stream = Describe(kFormat);
  for (const std::vector<Chunk>& block : EncodeVideo(stream, {{9, 4}, {12}, {4, 4}})) {
    const std::vector<Frame> frames = Frames(stream.init_segment + Join(block));
    size_t count = 0;
    for (const Chunk& chunk : block) count += chunk.frames;
    ASSERT_EQ(frames.size(), count);
    EXPECT_TRUE(frames[0].key_frame);
    EXPECT_NEAR(frames[0].seconds, static_cast<double>(block[0].first_frame) / 16, 1e-6);
  }
}

TEST(Playback, ASavedFileHasADurationAndCanBeSought) {
  StreamFormat format = kFormat;
  format.frames = 160;
  const Stream stream = Describe(format);
  const std::string file = File(stream, EncodeVideo(stream, std::vector<std::vector<int>>(10, {4, 4, 4, 4})));
  // ffprobe adds up the fragments; browsers read mehd, which stream_test and boxes_test look at.
  EXPECT_EQ(Probe(file, "-show_entries format=duration"), std::vector<std::string>({"10.000000"}));
  // A seek goes to the key frame at or before the time and decodes from there.
  const std::vector<Frame> frames = Frames(file, "-read_intervals 7.6%+#3");
  ASSERT_EQ(frames.size(), 3u);
  EXPECT_TRUE(frames[0].key_frame);
  EXPECT_NEAR(frames[0].seconds, 7, 1e-6);
  EXPECT_NEAR(frames[2].seconds, 7.125, 1e-6);
}

// Mean differences of neighbouring frames, in levels, over all three planes of 4:2:0.
std::vector<double> Changes(const std::string& bytes, const StreamFormat& format) {
  const std::string video = Run(bytes, "ffmpeg -v error -i", "-f rawvideo -pix_fmt yuv420p -");
  const size_t size = static_cast<size_t>(format.width) * format.height * 3 / 2;
  std::vector<double> changes;
  for (size_t frame = size; frame + size <= video.size(); frame += size) {
    double sum = 0;
    for (size_t i = frame; i < frame + size; ++i) {
      sum += std::abs(static_cast<uint8_t>(video[i]) - static_cast<uint8_t>(video[i - size]));
    }
    changes.push_back(sum / static_cast<double>(size));
  }
  return changes;
}

TEST(Playback, AStillSceneDoesNotJumpWhereABlockBegins) {
  constexpr int kBlock = 16, kBlocks = 5;
  const Stream stream =
      Describe({.width = 256, .height = 160, .rate = {.numerator = 16}, .frames = int64_t{kBlock} * kBlocks});
  const std::vector<std::vector<int>> blocks(kBlocks, {4, 4, 4, 4});
  const std::vector<double> changes = Changes(File(stream, EncodeVideo(stream, blocks, StillScene)), stream.format);
  ASSERT_EQ(changes.size(), kBlock * kBlocks - 1);
  double across = 0, inside = 0;
  for (size_t i = 0; i < changes.size(); ++i) ((i + 1) % kBlock == 0 ? across : inside) += changes[i];
  across /= kBlocks - 1;
  inside /= static_cast<double>(changes.size()) - (kBlocks - 1);
  EXPECT_LT(across, inside + 0.35) << inside;
}

}  // namespace
}  // namespace longtake::media
