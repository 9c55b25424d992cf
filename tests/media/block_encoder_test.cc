#include <string>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/media/x264_encoder.h"
#include "tests/media/support.h"

namespace longtake::media {

class BlockEncoderTest {
 public:
  static auto Open(const Stream& stream, absl::Span<const X264Option> options) {
    return BlockEncoder::Open(stream, 0, options);
  }
};

namespace {

constexpr StreamFormat kFormat = {.width = 64, .height = 48, .rate = {.numerator = 16}, .frames = 100};

TEST(BlockEncoder, ABlocksBytesDoNotDependOnOtherBlocks) {
  const Stream stream = Describe(kFormat);
  const std::string alone = Join(EncodeBlock(stream, 33, {4, 4, 4, 4}));
  EXPECT_EQ(Join(EncodeVideo(stream, {{1, 16}, {16}, {4, 4, 4, 4}})[2]), alone);
  EXPECT_EQ(Join(EncodeVideo(stream, {{33}, {4, 4, 4, 4}})[1]), alone);
  // Other pictures before it, and an encoder of another block at work in between.
  EncodeVideo(stream, {{33}}, StillScene);
  auto encoder = BlockEncoder::Open(stream, 33), other = BlockEncoder::Open(stream, 0);
  ASSERT_TRUE(encoder.ok() && other.ok());
  std::string bytes;
  for (int latent = 0; latent < 4; ++latent) {
    ASSERT_TRUE((*other)->Encode(StillScene(kFormat, latent, 3)).ok());
    auto chunk = (*encoder)->Encode(MovingBar(kFormat, 33 + 4 * latent, 4));
    ASSERT_TRUE(chunk.ok()) << chunk.status();
    bytes += chunk->bytes;
  }
  EXPECT_EQ(bytes, alone);
}

TEST(BlockEncoder, EncodersOnOtherThreadsDoNotMatter) {
  const Stream stream = Describe(kFormat);
  const std::string alone = Join(EncodeBlock(stream, 16, {4, 4, 4, 4}));
  std::vector<std::string> encoded(24);
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&, thread] {
      for (size_t i = thread; i < encoded.size(); i += 4) encoded[i] = Join(EncodeBlock(stream, 16, {4, 4, 4, 4}));
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(encoded, testing::Each(alone));
}

TEST(BlockEncoder, WhereABlockStandsIsInItsBytesAndInNothingElse) {
  const Stream stream = Describe(kFormat);
  const auto same = [](const StreamFormat& format, int64_t, int count) { return MovingBar(format, 0, count); };
  const Pictures* pictures = +same;
  const std::vector<Chunk> early = EncodeBlock(stream, 0, {4}, *pictures),
                           late = EncodeBlock(stream, 50, {4}, *pictures);
  EXPECT_NE(early[0].bytes, late[0].bytes);
  EXPECT_EQ(ParseBoxes(early[0].bytes)[1].body, ParseBoxes(late[0].bytes)[1].body);
}

TEST(BlockEncoder, PicturesDoNotDependOnWhereChunksAreCut) {
  const Stream stream = Describe(kFormat);
  const auto data = [](const std::vector<Chunk>& chunks) {
    std::string bytes;
    for (const Chunk& chunk : chunks) bytes += ParseBoxes(chunk.bytes)[1].body;
    return bytes;
  };
  const std::string whole = data(EncodeBlock(stream, 16, {12}));
  EXPECT_EQ(data(EncodeBlock(stream, 16, {1, 4, 4, 3})), whole);
  EXPECT_EQ(data(EncodeBlock(stream, 16, std::vector<int>(12, 1))), whole);
}

TEST(BlockEncoder, ChunksSayWhatIsInThem) {
  const std::vector<std::vector<Chunk>> blocks = EncodeVideo(Describe(kFormat), {{1, 4}, {4, 8}});
  const std::vector<int64_t> first = {0, 1, 5, 9};
  const std::vector<int> frames = {1, 4, 4, 8};
  for (size_t i = 0; i < 4; ++i) {
    const Chunk& chunk = blocks[i / 2][i % 2];
    EXPECT_EQ(chunk.first_frame, first[i]);
    EXPECT_EQ(chunk.frames, frames[i]);
    EXPECT_EQ(chunk.starts_with_key_frame, i % 2 == 0);
  }
}

TEST(BlockEncoder, RefusesFramesThatAreNotTheVideos) {
  const Stream stream = Describe(kFormat);
  EXPECT_EQ(BlockEncoder::Open(stream, -1).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(BlockEncoder::Open(stream, 100).status().code(), absl::StatusCode::kInvalidArgument);
  auto encoder = BlockEncoder::Open(stream, 96);
  ASSERT_TRUE(encoder.ok());
  const absl::Status part = (*encoder)->Encode(std::vector<uint8_t>(100)).status();
  EXPECT_EQ(part.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(part.message()), testing::HasSubstr("100 bytes are not a whole number of frames of 4608"));
  EXPECT_EQ((*encoder)->Encode({}).status().code(), absl::StatusCode::kInvalidArgument);
  const absl::Status beyond = (*encoder)->Encode(MovingBar(kFormat, 96, 5)).status();
  EXPECT_EQ(beyond.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(beyond.message()), testing::HasSubstr("frames 96 to 100 of a video of 100"));
  // Nothing was encoded by these, so the block is the same as without them.
  auto chunk = (*encoder)->Encode(MovingBar(kFormat, 96, 4));
  ASSERT_TRUE(chunk.ok()) << chunk.status();
  EXPECT_EQ(chunk->bytes, Join(EncodeBlock(stream, 96, {4})));
}

TEST(BlockEncoder, RefusesAnInitSegmentOfOtherParameterSets) {
  Stream stream = Describe(kFormat);
  ++stream.init_segment.back();
  const absl::Status status = BlockEncoder::Open(stream, 0).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr("parameter sets differ"));
}

TEST(BlockEncoder, AfterAFailureTheBlockIsLost) {
  // Macroblock trees need frames of the future, so the encoder holds back the first ones.
  const X264Option delay[] = {{"rc-lookahead", "5"}, {"mbtree", "1"}};
  auto encoder = BlockEncoderTest::Open(Describe(kFormat), delay);
  ASSERT_TRUE(encoder.ok()) << encoder.status();
  const absl::Status first = (*encoder)->Encode(MovingBar(kFormat, 0, 1)).status();
  EXPECT_EQ(first.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(first.message()), testing::HasSubstr("held back frame 0"));
  // x264 itself would return frames again after six, which are no longer those of the block.
  for (int frame = 1; frame < 10; ++frame) {
    EXPECT_EQ((*encoder)->Encode(MovingBar(kFormat, frame, 1)).status(), first) << frame;
  }
}

}  // namespace
}  // namespace longtake::media
