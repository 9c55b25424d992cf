// Pictures from files of each format: sizes and limits before decoding, orientation, scaling, and damage.
#include "server/image/image.h"

#include <turbojpeg.h>
#include <webp/encode.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/image/resample.h"

namespace longtake::server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr int64_t kManyPixels = 1 << 20;

// Smooth, so that lossy formats keep it, and different in every direction.
Picture Drawn(int width, int height) {
  Picture picture{.width = width, .height = height};
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      picture.rgb.push_back(static_cast<uint8_t>(40 + 170 * x / width));
      picture.rgb.push_back(static_cast<uint8_t>(30 + 190 * y / height));
      picture.rgb.push_back(static_cast<uint8_t>(120 + 50 * (x + y) / (width + height)));
    }
  }
  return picture;
}

std::string Png(const Picture& picture) { return *ToPng(picture); }

std::string Jpeg(const Picture& picture) {
  const tjhandle handle = tjInitCompress();
  unsigned char* bytes = nullptr;
  unsigned long size = 0;
  EXPECT_EQ(tjCompress2(handle, picture.rgb.data(), picture.width, 0, picture.height, TJPF_RGB, &bytes, &size,
                        TJSAMP_444, 95, TJFLAG_PROGRESSIVE),
            0);
  std::string file(reinterpret_cast<char*>(bytes), size);
  tjFree(bytes);
  tjDestroy(handle);
  return file;
}

std::string Webp(const Picture& picture, bool lossless) {
  uint8_t* bytes = nullptr;
  const size_t size =
      lossless ? WebPEncodeLosslessRGB(picture.rgb.data(), picture.width, picture.height, 3 * picture.width, &bytes)
               : WebPEncodeRGB(picture.rgb.data(), picture.width, picture.height, 3 * picture.width, 95, &bytes);
  std::string file(reinterpret_cast<char*>(bytes), size);
  WebPFree(bytes);
  return file;
}

std::string Tiff(int orientation, bool big) {
  const std::string value(1, static_cast<char>(orientation));
  if (big) {
    return absl::StrCat(std::string("MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0", 19), value,
                        std::string("\0\0\0\0\0\0", 6));
  }
  return absl::StrCat(std::string("II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0", 18), value,
                      std::string("\0\0\0\0\0\0\0", 7));
}

std::string WithExif(const std::string& jpeg, int orientation, bool big) {
  const std::string content = std::string("Exif\0\0", 6) + Tiff(orientation, big);
  const auto length = static_cast<char>(content.size() + 2);
  return absl::StrCat(jpeg.substr(0, 2), std::string("\xff\xe1\0", 3), std::string(1, length), content, jpeg.substr(2));
}

int LargestDifference(const Picture& a, const Picture& b) {
  EXPECT_EQ(a.width, b.width);
  EXPECT_EQ(a.height, b.height);
  if (a.rgb.size() != b.rgb.size()) return 255;
  int most = 0;
  for (size_t i = 0; i < a.rgb.size(); ++i) most = std::max(most, std::abs(int{a.rgb[i]} - int{b.rgb[i]}));
  return most;
}

TEST(Pictures, AreReadFromEachFormat) {
  const Picture drawn = Drawn(60, 40);
  struct Case {
    std::string file;
    PictureFormat format;
    int error;  // of the lossy ones twice what was measured
  };
  for (const Case& c :
       {Case{Png(drawn), PictureFormat::kPng, 0}, Case{Jpeg(drawn), PictureFormat::kJpeg, 8},
        Case{Webp(drawn, true), PictureFormat::kWebp, 0}, Case{Webp(drawn, false), PictureFormat::kWebp, 6}}) {
    SCOPED_TRACE(static_cast<int>(c.format));
    const auto header = ReadPictureHeader(c.file, kManyPixels);
    ASSERT_TRUE(header.ok()) << header.status();
    EXPECT_EQ(header->format, c.format);
    EXPECT_EQ(header->width, 60);
    EXPECT_EQ(header->height, 40);
    EXPECT_EQ(header->orientation, 1);
    const auto read = ReadPicture(c.file, kManyPixels, 60, 40);
    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_LE(LargestDifference(*read, drawn), c.error);
  }
}

// Large declared sizes are refused by the header: no decoder is asked.
TEST(Pictures, AboveTheLimitAreRefusedBeforeDecoding) {
  std::string png = Png(Drawn(60, 40));
  png.replace(16, 8, std::string("\0\1\0\0\0\1\0\0", 8));
  const auto header = ReadPictureHeader(png, kManyPixels);
  EXPECT_TRUE(absl::IsInvalidArgument(header.status())) << header.status();
  EXPECT_THAT(std::string(header.status().message()), HasSubstr("has 65536x65536 pixels, above the limit of 1048576"));
  for (const std::string& file : {Png(Drawn(60, 40)), Jpeg(Drawn(60, 40)), Webp(Drawn(60, 40), true)}) {
    EXPECT_TRUE(ReadPicture(file, 2400, 16, 16).ok());
    EXPECT_THAT(std::string(ReadPicture(file, 2399, 16, 16).status().message()), HasSubstr("above the limit of 2399"));
  }
}

TEST(Pictures, AreTurnedAsTheirFileSays) {
  const Picture drawn = Drawn(48, 32);
  const std::string jpeg = Jpeg(drawn);
  for (int orientation = 1; orientation <= 8; ++orientation) {
    for (const bool big : {false, true}) {
      SCOPED_TRACE(absl::StrCat(orientation, big));
      const std::string file = WithExif(jpeg, orientation, big);
      EXPECT_EQ(ReadPictureHeader(file, kManyPixels)->orientation, orientation);
      const int width = orientation > 4 ? 32 : 48, height = orientation > 4 ? 48 : 32;
      const auto read = ReadPicture(file, kManyPixels, width, height);
      ASSERT_TRUE(read.ok()) << read.status();
      EXPECT_LE(LargestDifference(*read, Oriented(drawn, orientation)), 8);
    }
  }
  EXPECT_EQ(ReadPictureHeader(WithExif(jpeg, 9, true), kManyPixels)->orientation, 1);
}

TEST(Pictures, OrientationsAreThoseOfExif) {
  // Two columns, three rows, numbered as stored.
  Picture stored{.width = 2, .height = 3};
  for (uint8_t i = 1; i <= 6; ++i) stored.rgb.insert(stored.rgb.end(), {i, i, i});
  const auto seen = [&](int orientation) {
    const Picture picture = Oriented(stored, orientation);
    std::vector<int> numbers;
    for (size_t i = 0; i < picture.rgb.size(); i += 3) numbers.push_back(picture.rgb[i]);
    return numbers;
  };
  EXPECT_THAT(seen(1), ElementsAre(1, 2, 3, 4, 5, 6));
  EXPECT_THAT(seen(2), ElementsAre(2, 1, 4, 3, 6, 5));
  EXPECT_THAT(seen(3), ElementsAre(6, 5, 4, 3, 2, 1));
  EXPECT_THAT(seen(4), ElementsAre(5, 6, 3, 4, 1, 2));
  EXPECT_THAT(seen(5), ElementsAre(1, 3, 5, 2, 4, 6));
  EXPECT_THAT(seen(6), ElementsAre(5, 3, 1, 6, 4, 2));  // a telephone held upright: to be turned to the right
  EXPECT_THAT(seen(7), ElementsAre(6, 4, 2, 5, 3, 1));
  EXPECT_THAT(seen(8), ElementsAre(2, 4, 6, 1, 3, 5));
}

TEST(Pictures, CoverTheSizeAndLoseTheirEdges) {
  // A red middle, as wide as high, between blue sides.
  Picture wide{.width = 90, .height = 30};
  for (int y = 0; y < 30; ++y) {
    for (int x = 0; x < 90; ++x) {
      const bool middle = x >= 30 && x < 60;
      wide.rgb.insert(wide.rgb.end(),
                      {static_cast<uint8_t>(middle ? 250 : 0), 0, static_cast<uint8_t>(middle ? 0 : 250)});
    }
  }
  for (const int size : {10, 15, 64}) {
    const Picture square = CoverAndCrop(wide, size, size);
    for (int y = 0; y < size; ++y) {
      const size_t middle = (static_cast<size_t>(y) * size + size / 2) * 3;
      EXPECT_EQ(square.rgb[middle], 250);
      EXPECT_EQ(square.rgb[middle + 2], 0);
    }
  }
  const Picture drawn = Drawn(33, 21);
  EXPECT_EQ(CoverAndCrop(drawn, 33, 21).rgb, drawn.rgb);
}

// What is kept of a video is the scaled picture: read again, it is the same.
TEST(Pictures, StayTheSameAsPng) {
  const auto read = ReadPicture(Jpeg(Drawn(100, 70)), kManyPixels, 64, 48);
  ASSERT_TRUE(read.ok()) << read.status();
  const auto again = ReadPicture(Png(*read), kManyPixels, 64, 48);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->rgb, read->rgb);
}

TEST(Pictures, OfOtherKindsAndDamagedOnesAreRefused) {
  const auto refused = [](const std::string& file, const std::string& why) {
    const auto read = ReadPicture(file, kManyPixels, 32, 32);
    EXPECT_TRUE(absl::IsInvalidArgument(read.status())) << read.status();
    EXPECT_THAT(std::string(read.status().message()), HasSubstr(why));
  };
  refused("", "is not a PNG, JPEG or WebP picture");
  refused("GIF89a........", "is not a PNG, JPEG or WebP picture");
  refused("<svg/>", "is not a PNG, JPEG or WebP picture");
  const std::string png = Png(Drawn(60, 40)), jpeg = Jpeg(Drawn(60, 40)), webp = Webp(Drawn(60, 40), false);
  refused(png.substr(0, 20), "is a PNG picture whose header is damaged");
  refused(jpeg.substr(0, 20), "is a JPEG picture whose header is damaged");
  refused(webp.substr(0, 20), "is a WebP picture whose header is damaged");
  refused(png.substr(0, png.size() / 2), "is a damaged PNG picture");
  refused(jpeg.substr(0, jpeg.size() / 2), "is a damaged JPEG picture");
  refused(webp.substr(0, webp.size() / 2), "is a damaged WebP picture");
  std::string animated = std::string("RIFF\x20\0\0\0WEBPVP8X\x0a\0\0\0\x02\0\0\0\x0f\0\0\x0f\0\0", 30);
  refused(animated, "is an animated WebP");
}

}  // namespace
}  // namespace longtake::server
