// The thread that reads first images: what waits for it, and what is refused.
#include "server/video/picture_reader.h"

#include <semaphore>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "server/image/image.h"
#include "server/video/error.h"
#include "tests/server/gate.h"

namespace longtake::server {
namespace {

constexpr Size kSize = {.width = 64, .height = 48};

std::string File() { return *ToPng({.width = 8, .height = 8, .rgb = std::vector<uint8_t>(192, 7)}); }

TEST(PictureReaderTest, ThoseThatAskDoNotWait) {
  Gate gate;
  gate.Close();
  std::binary_semaphore held(0);
  int read = 0, refused = 0;
  {
    const auto bytes = static_cast<int64_t>(File().size());
    PictureReader reader({.max_first_image_bytes = bytes});
    reader.Read(File(), kSize, [&](const absl::StatusOr<std::string>& png) {
      held.release();
      gate.Pass();
      EXPECT_TRUE(png.ok()) << png.status();
    });
    held.acquire();
    for (int i = 0; i < 7; ++i) {
      reader.Read(File(), kSize, [&](const absl::StatusOr<std::string>& png) {
        if (png.ok()) return void(++read);
        ++refused;
        EXPECT_EQ(DetailsOf(png.status()).reason, Reason::kQueueFull);
      });
    }
    EXPECT_EQ(read, 0);
    EXPECT_EQ(refused, 7 - PictureReader::kWaiting) << "at once";
    gate.Open();
  }
  EXPECT_EQ(read, PictureReader::kWaiting);
}

TEST(PictureReaderTest, GivesThePictureOrTheFieldAtFault) {
  absl::StatusOr<std::string> small, large, damaged;
  {
    PictureReader reader({.max_first_image_bytes = 10});
    reader.Read(File(), kSize, [&](absl::StatusOr<std::string> png) { small = std::move(png); });
  }
  {
    PictureReader reader({.max_first_image_pixels = 63});
    reader.Read(File(), kSize, [&](absl::StatusOr<std::string> png) { large = std::move(png); });
    reader.Read("GIF89a", kSize, [&](absl::StatusOr<std::string> png) { damaged = std::move(png); });
  }
  ASSERT_TRUE(small.ok()) << small.status() << ", though it is larger than a request's may be: a fork has it";
  const absl::StatusOr<Picture> shown = ReadPicture(*small, 1 << 20, kSize.width, kSize.height);
  ASSERT_TRUE(shown.ok()) << shown.status();
  EXPECT_EQ(shown->rgb, std::vector<uint8_t>(size_t{3} * 64 * 48, 7));
  for (const auto& refused : {large, damaged}) {
    EXPECT_EQ(DetailsOf(refused.status()).reason, Reason::kInvalidRequest);
    ASSERT_EQ(DetailsOf(refused.status()).fields.size(), 1u);
    EXPECT_EQ(DetailsOf(refused.status()).fields[0].field, "spec.first_image");
  }
}

}  // namespace
}  // namespace longtake::server
