// Pictures that videos begin with: read from PNG, JPEG or WebP, brought to the video's size, kept as PNG.
//
// The only header of this room. Errors are sentences without a subject, such as "is not a PNG, JPEG or WebP picture",
// and never have anything of the picture's content; the caller names the field.
#ifndef LONGTAKE_SERVER_IMAGE_IMAGE_H_
#define LONGTAKE_SERVER_IMAGE_IMAGE_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace longtake::server {

// 8-bit RGB, rows from the top.
struct Picture {
  int width = 0, height = 0;
  std::vector<uint8_t> rgb;
};

enum class PictureFormat { kPng, kJpeg, kWebp };

struct PictureHeader {
  PictureFormat format = PictureFormat::kPng;
  int width = 0, height = 0;  // as stored, before the orientation is applied
  // Of EXIF: 1 to 8. Values above 4 exchange width and height.
  int orientation = 1;
};

// Reads what a file says of itself, without decoding any of it. InvalidArgument: it is none of the three formats, is
// animated, or has more than `max_pixels`.
absl::StatusOr<PictureHeader> ReadPictureHeader(std::string_view file, int64_t max_pixels);

// Decodes the file and applies its orientation; scales it to cover `width` x `height` and crops what is beside the
// centre (bicubic, as Pillow does it). Transparent pictures are put on white. The same file gives the same pixels on
// every processor. Needs 4 bytes a pixel of the file beside the result. InvalidArgument: as ReadPictureHeader, or the
// file is damaged.
absl::StatusOr<Picture> ReadPicture(std::string_view file, int64_t max_pixels, int width, int height);

// The picture as a PNG, from which ReadPicture gives the same pixels at the same size.
absl::StatusOr<std::string> ToPng(const Picture& picture);

// 64 hexadecimal digits of SHA-256.
std::string PictureDigest(std::string_view file);

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_IMAGE_IMAGE_H_
