// A picture's file: its header, then its decoding.
#include <cstdint>
#include <string_view>

#include "server/image/image.h"
#include "tests/fuzz/check.h"

namespace longtake::server {
namespace {

using fuzz::Check;

constexpr int64_t kMostPixels = 1 << 14;
constexpr int kWidth = 8, kHeight = 6;

void Read(std::string_view file) {
  const absl::StatusOr<PictureHeader> header = ReadPictureHeader(file, kMostPixels);
  const absl::StatusOr<Picture> picture = ReadPicture(file, kMostPixels, kWidth, kHeight);
  if (!header.ok()) {
    Check(absl::IsInvalidArgument(header.status()), "a header is refused with another error");
    Check(picture.status() == header.status(), "what the header refuses is decoded");
    return;
  }
  Check(int64_t{header->width} * header->height <= kMostPixels, "a picture above the limit is accepted");
  Check(header->orientation >= 1 && header->orientation <= 8, "an orientation that is none");
  if (!picture.ok()) return;
  Check(picture->width == kWidth && picture->height == kHeight, "a picture of another size");
  Check(picture->rgb.size() == size_t{3} * kWidth * kHeight, "a picture of other bytes");
}

}  // namespace
}  // namespace longtake::server

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  longtake::server::Read({reinterpret_cast<const char*>(data), size});
  return 0;
}
