#include "server/media/boxes.h"

#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/media/support.h"

namespace longtake::media {
namespace {

// Reads chunks as a browser's Media Source Extensions do: each for itself, with nothing from the init segment but the
// number of time units per second.
struct Reader {
  explicit Reader(const std::string& init_segment)
      : per_second(Number(Find(ParseBoxes(init_segment), "moov/trak/mdia/mdhd").body, 12, 4)) {}

  // Checks one moof, or moof and mdat.
  void Read(const std::string& bytes, bool key_frame, const std::vector<uint32_t>& sizes) {
    const std::vector<Box> boxes = ParseBoxes(bytes);
    const uint64_t number = Number(Find(boxes, "moof/mfhd").body, 4, 4);
    EXPECT_GT(number, sequence_number);
    sequence_number = number;

    const std::string& tfhd = Find(boxes, "moof/traf/tfhd").body;
    ASSERT_EQ(Number(tfhd, 0, 4), 0x20028u);  // offsets count from the moof; default duration and flags follow
    EXPECT_EQ(Number(tfhd, 4, 4), 1u);
    const uint64_t per_frame = Number(tfhd, 8, 4);
    EXPECT_EQ(Number(tfhd, 12, 4), 0x1010000u);  // no sync sample

    const std::string& tfdt = Find(boxes, "moof/traf/tfdt").body;
    ASSERT_EQ(tfdt[0], 1);
    EXPECT_EQ(Number(tfdt, 4, 8), end);

    const std::string& trun = Find(boxes, "moof/traf/trun").body;
    ASSERT_EQ(Number(trun, 0, 4), key_frame ? 0x205u : 0x201u);
    const uint64_t samples = Number(trun, 4, 4);
    ASSERT_EQ(samples, sizes.size());
    EXPECT_EQ(Number(trun, 8, 4), boxes[0].body.size() + 16);  // behind the mdat's header
    if (key_frame) {
      EXPECT_EQ(Number(trun, 12, 4), 0x2000000u);  // depends on no other sample
    }
    for (size_t i = 0; i < samples; ++i) EXPECT_EQ(Number(trun, (key_frame ? 16 : 12) + 4 * i, 4), sizes[i]);
    end += samples * per_frame;
  }

  uint64_t per_second, sequence_number = 0, end = 0;
};

TEST(Boxes, AnHourOfChunksHasNoGapAndTheDurationOfTheInitSegment) {
  for (const FrameRate rate : {FrameRate{24000, 1001}, FrameRate{30000, 1001}, FrameRate{16, 1}, FrameRate{25, 2}}) {
    // Blocks of one, then of four latent frames of four frames each; the first latent frame is one frame.
    const int64_t frames = 1 + int64_t{3600} * rate.numerator / rate.denominator / 4 * 4;
    const std::string init =
        InitSegment({.width = 64, .height = 48, .rate = rate, .frames = frames}, {.sps = "\x67sps", .pps = "pps"});
    Reader reader(init);
    for (int64_t first = 0; first < frames;) {
      const bool key_frame = first == 0 || (first - 1) % 16 == 0;
      const std::vector<uint32_t> sizes(first == 0 ? 1 : 4, 50);
      const std::string header = FragmentHeader(
          {.rate = rate, .first_frame = first, .starts_with_key_frame = key_frame, .sample_bytes = sizes});
      reader.Read(header + std::string(sizes.size() * 50, 'x'), key_frame, sizes);
      if (HasFailure()) return;
      first += static_cast<int64_t>(sizes.size());
      // Exact: no rounding anywhere, so that the n-th frame comes at n / rate seconds.
      ASSERT_EQ(reader.end * rate.numerator, first * rate.denominator * reader.per_second);
    }
    EXPECT_EQ(reader.end, Number(Find(ParseBoxes(init), "moov/mvex/mehd").body, 4, 8));
    EXPECT_GE(reader.per_second, 10'000u);
  }
}

TEST(Boxes, EncodedChunksAreReadOneByOne) {
  const Stream stream = Describe({.width = 64, .height = 48, .rate = {30000, 1001}, .frames = 30});
  Reader reader(stream.init_segment);
  for (const std::vector<Chunk>& block : EncodeVideo(stream, {{1, 4, 4}, {1}, {4, 4, 4, 4}, {4}})) {
    for (const Chunk& chunk : block) {
      const std::vector<Box> boxes = ParseBoxes(chunk.bytes);
      ASSERT_EQ(boxes.size(), 2u);
      ASSERT_EQ(boxes[1].type, "mdat");
      // Sizes as the slices' own lengths give them: each sample has one slice, a key frame a delimiter before it.
      std::vector<uint32_t> sizes;
      for (size_t at = 0; at < boxes[1].body.size(); at += sizes.back()) {
        const bool delimiter = (boxes[1].body[at + 4] & 31) == 9;
        sizes.push_back((delimiter ? 6 : 0) + 4 +
                        static_cast<uint32_t>(Number(boxes[1].body, at + (delimiter ? 6 : 0), 4)));
      }
      EXPECT_EQ(chunk.starts_with_key_frame, &chunk == &block.front());
      reader.Read(chunk.bytes, chunk.starts_with_key_frame, sizes);
    }
  }
  EXPECT_EQ(reader.end, Number(Find(ParseBoxes(stream.init_segment), "moov/mvex/mehd").body, 4, 8));
}

}  // namespace
}  // namespace longtake::media
