#include "server/media/mp4_stream.h"

#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace longtake::media {
namespace {

constexpr VideoFormat kFormat = {.width = 64, .height = 48, .fps = 16};

// Frames in which a bright bar moves, so that frames between key frames really refer to others.
std::vector<uint8_t> Frames(const VideoFormat& format, int first, int count) {
  std::vector<uint8_t> bytes;
  for (int f = first; f < first + count; ++f) {
    for (int y = 0; y < format.height; ++y) {
      for (int x = 0; x < format.width; ++x) {
        bytes.push_back(static_cast<uint8_t>((x + f) % format.width < 8 ? 200 : 40 + (x * 3 + y * 5) % 60));
      }
    }
    bytes.insert(bytes.end(), static_cast<size_t>(format.width) * format.height / 4,
                 static_cast<uint8_t>(60 + f % 100));
    bytes.insert(bytes.end(), static_cast<size_t>(format.width) * format.height / 4,
                 static_cast<uint8_t>(180 - f % 90));
  }
  return bytes;
}

// A shaded scene that stands still but for a shimmer of a level or so, as a decoder of latents gives it: what moves in
// the encoded video moves because of the encoder.
std::vector<uint8_t> Still(const VideoFormat& format, int first, int count) {
  std::mt19937 random(first);
  std::vector<uint8_t> bytes;
  for (int f = 0; f < count; ++f) {
    for (const int shrink : {1, 2, 2}) {
      for (int y = 0; y < format.height; y += shrink) {
        for (int x = 0; x < format.width; x += shrink) {
          const double shade = 110 + 0.3 * y + 5 * std::sin(0.15 * x) + 3 * std::sin(0.5 * x + 0.4 * y);
          bytes.push_back(static_cast<uint8_t>(shade + 1.5 * random() / random.max()));
        }
      }
    }
  }
  return bytes;
}

// A stream cut into chunks of the given numbers of frames; each chunk's frames are added `at_once` at a time.
std::vector<Mp4Chunk> Make(const VideoFormat& format, const std::vector<int>& cuts, int at_once,
                           const decltype(Frames)& pictures = Frames) {
  auto stream = Mp4Stream::Create(format);
  EXPECT_TRUE(stream.ok()) << stream.status();
  std::vector<Mp4Chunk> chunks;
  int next = 0;
  for (int count : cuts) {
    for (int done = 0; done < count;) {
      const int now = std::min(at_once, count - done);
      EXPECT_TRUE((*stream)->Add(pictures(format, next, now)).ok());
      next += now;
      done += now;
    }
    auto chunk = (*stream)->Cut();
    EXPECT_TRUE(chunk.ok()) << chunk.status();
    chunks.push_back(*std::move(chunk));
  }
  return chunks;
}

std::string Join(const std::vector<Mp4Chunk>& chunks) {
  std::string bytes;
  for (const Mp4Chunk& chunk : chunks) bytes += chunk.bytes;
  return bytes;
}

// What a command prints about the bytes, which lie in the file whose name follows `before`.
std::string Run(const std::string& bytes, const std::string& before, const std::string& after) {
  const std::string path = absl::StrCat(testing::TempDir(), "/mp4_stream_test_", getpid(), ".mp4");
  std::ofstream(path, std::ios::binary) << bytes;
  FILE* pipe = popen(absl::StrCat(before, " ", path, " ", after).c_str(), "r");
  std::string output;
  std::array<char, 4096> buffer;
  while (size_t size = fread(buffer.data(), 1, buffer.size(), pipe)) output.append(buffer.data(), size);
  EXPECT_EQ(pclose(pipe), 0);
  std::remove(path.c_str());
  return output;
}

// What ffprobe prints, one line a frame or stream. Its complaints count as output too.
std::vector<std::string> Probe(const std::string& bytes, const std::string& arguments) {
  const std::string text = Run(bytes, absl::StrCat("ffprobe -v warning -of csv=p=0 ", arguments), "2>&1");
  return absl::StrSplit(text, '\n', absl::SkipEmpty());
}

TEST(Mp4Stream, JoinedChunksAreOneVideoWithEveryFrameInItsPlace) {
  const std::vector<int> cuts = {17, 20, 20, 4};
  const std::vector<Mp4Chunk> chunks = Make(kFormat, cuts, 4);
  const std::vector<std::string> frames =
      Probe(Join(chunks), "-select_streams v -show_entries frame=pts_time,key_frame");
  ASSERT_EQ(frames.size(), 61u);
  size_t frame = 0;
  for (int count : cuts) {
    for (int i = 0; i < count; ++i, ++frame) {
      const std::vector<std::string> fields = absl::StrSplit(frames[frame], ',');
      EXPECT_EQ(fields[0], i == 0 ? "1" : "0") << "key frame " << frame;
      EXPECT_NEAR(std::stod(fields[1]), static_cast<double>(frame) / 16, 1e-6);
    }
  }
}

TEST(Mp4Stream, TellsSizeRateAndColours) {
  const std::vector<std::string> lines = Probe(
      Join(Make(kFormat, {5}, 5)),
      "-show_entries stream=codec_name,width,height,pix_fmt,color_range,color_space,color_transfer,color_primaries,"
      "r_frame_rate,has_b_frames,nb_read_frames -count_frames");
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_EQ(lines[0], "h264,64,48,0,yuv420p,tv,bt709,bt709,bt709,16/1,5");
}

TEST(Mp4Stream, EachChunkPlaysAfterTheInitSegmentAlone) {
  const std::vector<Mp4Chunk> chunks = Make(kFormat, {9, 12, 8}, 4);
  const std::string init = chunks[0].bytes.substr(0, chunks[0].init_segment_bytes);
  EXPECT_TRUE(absl::StrContains(init, "ftyp"));
  EXPECT_TRUE(absl::StrContains(init, "moov"));
  EXPECT_FALSE(absl::StrContains(init, "moof"));
  for (size_t i = 0; i < chunks.size(); ++i) {
    EXPECT_EQ(chunks[i].init_segment_bytes > 0, i == 0);
    const std::string bytes = i == 0 ? chunks[0].bytes : init + chunks[i].bytes;
    const std::vector<std::string> frames = Probe(bytes, "-select_streams v -show_entries frame=pts_time,key_frame");
    ASSERT_EQ(frames.size(), static_cast<size_t>(chunks[i].frames)) << "chunk " << i;
    EXPECT_EQ(frames[0].front(), '1');
    EXPECT_NEAR(std::stod(frames[0].substr(2)), chunks[i].first_pts_seconds, 1e-6);
  }
  EXPECT_EQ(chunks[1].first_frame, 9);
  EXPECT_EQ(chunks[1].frames, 12);
  EXPECT_DOUBLE_EQ(chunks[1].first_pts_seconds, 9.0 / 16);
  EXPECT_DOUBLE_EQ(chunks[1].duration_seconds, 12.0 / 16);
}

TEST(Mp4Stream, EqualFramesGiveEqualBytesHoweverTheyWereAdded) {
  const std::string once = Join(Make(kFormat, {9, 12}, 12));
  EXPECT_EQ(once, Join(Make(kFormat, {9, 12}, 12)));
  EXPECT_EQ(once, Join(Make(kFormat, {9, 12}, 1)));
  EXPECT_NE(once, Join(Make(kFormat, {12, 9}, 12)));
}

// Mean differences of neighbouring frames, levels of all three planes in 4:2:0.
std::vector<double> Changes(const std::string& bytes, const VideoFormat& format) {
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

TEST(Mp4Stream, AStillSceneDoesNotJumpWhereAChunkBegins) {
  const VideoFormat format = {.width = 256, .height = 160, .fps = 16};
  constexpr int kChunk = 16, kChunks = 5;
  const std::vector<Mp4Chunk> chunks = Make(format, std::vector<int>(kChunks, kChunk), kChunk, Still);
  const std::vector<double> changes = Changes(Join(chunks), format);
  ASSERT_EQ(changes.size(), kChunk * kChunks - 1);
  double across = 0, inside = 0;
  for (size_t i = 0; i < changes.size(); ++i) ((i + 1) % kChunk == 0 ? across : inside) += changes[i];
  across /= kChunks - 1;
  inside /= static_cast<double>(changes.size()) - (kChunks - 1);
  EXPECT_LT(across, inside + 0.35) << inside;
}

TEST(Mp4Stream, FractionalRatesKeepTheirClock) {
  VideoFormat format = kFormat;
  format.fps = 24000.0 / 1001;
  const std::vector<std::string> lines = Probe(Join(Make(format, {5, 4}, 4)), "-show_entries stream=r_frame_rate");
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_EQ(lines[0], "24000/1001");
}

TEST(Mp4Stream, RefusesWhatItCannotEncode) {
  struct Case {
    VideoFormat format;
    const char* says;
  };
  const std::vector<Case> cases = {
      {{.width = 63, .height = 48}, "63x48"},
      {{.width = 64, .height = 0}, "64x0"},
      {{.width = 64, .height = 48, .fps = 0}, "frames a second"},
      {{.width = 64, .height = 48, .fps = std::numeric_limits<double>::infinity()}, "frames a second"},
  };
  for (const Case& c : cases) {
    const absl::Status status = Mp4Stream::Create(c.format).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), testing::HasSubstr(c.says));
  }
  auto stream = Mp4Stream::Create(kFormat);
  ASSERT_TRUE(stream.ok());
  EXPECT_EQ((*stream)->Add(std::vector<uint8_t>(100)).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ((*stream)->Cut().status().code(), absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace longtake::media
