#include "tests/media/support.h"

#include <unistd.h>

#include <array>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <random>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gtest/gtest.h"

namespace longtake::media {

std::vector<uint8_t> MovingBar(const StreamFormat& format, int64_t first, int count) {
  std::vector<uint8_t> bytes;
  for (int64_t f = first; f < first + count; ++f) {
    for (int y = 0; y < format.height; ++y) {
      for (int x = 0; x < format.width; ++x) {
        bytes.push_back(static_cast<uint8_t>((x + f) % format.width < 8 ? 200 : 40 + (x * 3 + y * 5) % 60));
      }
    }
    const size_t chroma = static_cast<size_t>(format.width) * format.height / 4;
    bytes.insert(bytes.end(), chroma, static_cast<uint8_t>(60 + f % 100));
    bytes.insert(bytes.end(), chroma, static_cast<uint8_t>(180 - f % 90));
  }
  return bytes;
}

std::vector<uint8_t> StillScene(const StreamFormat& format, int64_t first, int count) {
  std::mt19937 random(static_cast<uint32_t>(first));
  std::vector<uint8_t> bytes;
  for (int f = 0; f < count; ++f) {
    for (const int shrink : {1, 2, 2}) {
      for (int y = 0; y < format.height; y += shrink) {
        for (int x = 0; x < format.width; x += shrink) {
          const double shade = 110 + 0.3 * y + 5 * std::sin(0.15 * x) + 3 * std::sin(0.5 * x + 0.4 * y);
          bytes.push_back(static_cast<uint8_t>(shade + 1.5 * random() / std::mt19937::max()));
        }
      }
    }
  }
  return bytes;
}

std::vector<Chunk> EncodeBlock(const Stream& stream, int64_t first_frame, const std::vector<int>& chunks,
                               const Pictures& pictures) {
  auto encoder = BlockEncoder::Open(stream, first_frame);
  EXPECT_TRUE(encoder.ok()) << encoder.status();
  std::vector<Chunk> encoded;
  if (!encoder.ok()) return encoded;
  for (const int count : chunks) {
    auto chunk = (*encoder)->Encode(pictures(stream.format, first_frame, count));
    EXPECT_TRUE(chunk.ok()) << chunk.status();
    if (!chunk.ok()) return encoded;
    encoded.push_back(*std::move(chunk));
    first_frame += count;
  }
  return encoded;
}

std::vector<std::vector<Chunk>> EncodeVideo(const Stream& stream, const std::vector<std::vector<int>>& blocks,
                                            const Pictures& pictures) {
  std::vector<std::vector<Chunk>> encoded;
  int64_t first_frame = 0;
  for (const std::vector<int>& chunks : blocks) {
    encoded.push_back(EncodeBlock(stream, first_frame, chunks, pictures));
    for (const int count : chunks) first_frame += count;
  }
  return encoded;
}

Stream Describe(const StreamFormat& format) {
  auto stream = DescribeStream(format);
  EXPECT_TRUE(stream.ok()) << stream.status();
  return stream.ok() ? *std::move(stream) : Stream{};
}

std::string Join(const std::vector<Chunk>& chunks) {
  std::string bytes;
  for (const Chunk& chunk : chunks) bytes += chunk.bytes;
  return bytes;
}

std::string File(const Stream& stream, const std::vector<std::vector<Chunk>>& blocks) {
  std::string bytes = stream.init_segment;
  for (const std::vector<Chunk>& chunks : blocks) bytes += Join(chunks);
  return bytes;
}

uint64_t Number(absl::string_view body, size_t offset, int bytes) {
  EXPECT_LE(offset + bytes, body.size());
  uint64_t value = 0;
  for (int i = 0; i < bytes && offset + i < body.size(); ++i)
    value = value << 8 | static_cast<uint8_t>(body[offset + i]);
  return value;
}

std::vector<Box> ParseBoxes(absl::string_view bytes) {
  static constexpr absl::string_view kContainers[] = {"moov", "trak", "mdia", "minf", "dinf",
                                                      "stbl", "mvex", "moof", "traf"};
  std::vector<Box> boxes;
  while (!bytes.empty()) {
    const uint64_t size = Number(bytes, 0, 4);
    if (size < 8 || size > bytes.size()) {
      ADD_FAILURE() << "a box of " << size << " bytes where " << bytes.size() << " are left";
      return boxes;
    }
    Box box = {.type = std::string(bytes.substr(4, 4)), .body = std::string(bytes.substr(8, size - 8))};
    size_t skip = box.body.size();
    for (const absl::string_view container : kContainers) skip = box.type == container ? 0 : skip;
    if (box.type == "stsd") skip = 8;
    if (box.type == "avc1") skip = 78;
    box.children = ParseBoxes(absl::string_view(box.body).substr(skip));
    boxes.push_back(std::move(box));
    bytes.remove_prefix(size);
  }
  return boxes;
}

const Box& Find(const std::vector<Box>& boxes, absl::string_view path) {
  static const Box none;
  const std::vector<Box>* level = &boxes;
  const Box* found = &none;
  for (const absl::string_view type : absl::StrSplit(path, '/')) {
    found = nullptr;
    for (const Box& box : *level) {
      if (found == nullptr && box.type == type) found = &box;
    }
    if (found == nullptr) {
      ADD_FAILURE() << "no box " << path;
      return none;
    }
    level = &found->children;
  }
  return *found;
}

std::string Run(const std::string& bytes, const std::string& before, const std::string& after) {
  const std::string path = absl::StrCat(testing::TempDir(), "/media_test_", getpid(), ".mp4");
  std::ofstream(path, std::ios::binary) << bytes;
  FILE* pipe = popen(absl::StrCat(before, " ", path, " ", after).c_str(), "r");
  std::string output;
  std::array<char, 4096> buffer;
  while (const size_t size = fread(buffer.data(), 1, buffer.size(), pipe)) output.append(buffer.data(), size);
  EXPECT_EQ(pclose(pipe), 0);
  std::remove(path.c_str());
  return output;
}

std::vector<std::string> Probe(const std::string& bytes, const std::string& arguments) {
  const std::string text = Run(bytes, absl::StrCat("ffprobe -v warning -of csv=p=0 ", arguments), "2>&1");
  return absl::StrSplit(text, '\n', absl::SkipEmpty());
}

}  // namespace longtake::media
