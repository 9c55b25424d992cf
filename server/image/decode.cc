// Decoding by libpng, libjpeg-turbo and libwebp.
#include <openssl/sha.h>
#include <png.h>
#include <turbojpeg.h>
#include <webp/decode.h>

#include <array>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "server/image/image.h"
#include "server/image/resample.h"

namespace longtake::server {
namespace {

const uint8_t* BytesOf(std::string_view file) { return reinterpret_cast<const uint8_t*>(file.data()); }

absl::Status Damaged(const char* format, const std::string& why) {
  return absl::InvalidArgumentError(absl::StrCat("is a damaged ", format, " picture", why.empty() ? "" : ": ", why));
}

Picture Empty(const PictureHeader& header, int channels) {
  Picture picture{.width = header.width, .height = header.height};
  picture.rgb.resize(static_cast<size_t>(header.width) * header.height * channels);
  return picture;
}

// From RGBA to RGB, in place.
void PutOnWhite(Picture& picture) {
  std::vector<uint8_t>& v = picture.rgb;
  const size_t pixels = v.size() / 4;
  for (size_t i = 0; i < pixels; ++i) {
    const int alpha = v[4 * i + 3];
    for (size_t c = 0; c < 3; ++c) {
      v[3 * i + c] = static_cast<uint8_t>((v[4 * i + c] * alpha + 255 * (255 - alpha) + 127) / 255);
    }
  }
  v.resize(3 * pixels);
}

absl::StatusOr<Picture> DecodePng(std::string_view file, const PictureHeader& header) {
  png_image image = {};
  image.version = PNG_IMAGE_VERSION;
  const auto free = [](png_image* started) { png_image_free(started); };
  const std::unique_ptr<png_image, decltype(free)> held(&image, free);
  if (png_image_begin_read_from_memory(&image, file.data(), file.size()) == 0) return Damaged("PNG", image.message);
  image.format = PNG_FORMAT_RGBA;
  if (image.width != static_cast<uint32_t>(header.width) || image.height != static_cast<uint32_t>(header.height)) {
    return Damaged("PNG", "");
  }
  Picture picture = Empty(header, 4);
  if (png_image_finish_read(&image, nullptr, picture.rgb.data(), 0, nullptr) == 0) return Damaged("PNG", image.message);
  PutOnWhite(picture);
  return picture;
}

absl::StatusOr<Picture> DecodeJpeg(std::string_view file, const PictureHeader& header) {
  const auto destroy = [](void* handle) { tjDestroy(handle); };
  const std::unique_ptr<void, decltype(destroy)> jpeg(tjInitDecompress(), destroy);
  if (jpeg == nullptr) return absl::ResourceExhaustedError("cannot be decoded: no memory");
  int width = 0, height = 0, subsampling = 0, colors = 0;
  const auto failed = [&] { return Damaged("JPEG", tjGetErrorStr2(jpeg.get())); };
  if (tjDecompressHeader3(jpeg.get(), BytesOf(file), file.size(), &width, &height, &subsampling, &colors) != 0) {
    return failed();
  }
  if (width != header.width || height != header.height) return Damaged("JPEG", "");
  if (colors == TJCS_CMYK || colors == TJCS_YCCK) {
    return absl::InvalidArgumentError("is a JPEG picture of CMYK colours; RGB or grey is wanted");
  }
  Picture picture = Empty(header, 3);
  // The accurate transform gives the same bytes with and without vector instructions. A picture of hundreds of scans
  // would take seconds for each of its pixels' bits.
  const int flags = TJFLAG_ACCURATEDCT | TJFLAG_LIMITSCANS | TJFLAG_STOPONWARNING;
  if (tjDecompress2(jpeg.get(), BytesOf(file), file.size(), picture.rgb.data(), width, 0, height, TJPF_RGB, flags) !=
      0) {
    return failed();
  }
  return picture;
}

absl::StatusOr<Picture> DecodeWebp(std::string_view file, const PictureHeader& header) {
  WebPBitstreamFeatures features;
  if (WebPGetFeatures(BytesOf(file), file.size(), &features) != VP8_STATUS_OK || features.width != header.width ||
      features.height != header.height || features.has_animation != 0) {
    return Damaged("WebP", "");
  }
  Picture picture = Empty(header, 4);
  if (WebPDecodeRGBAInto(BytesOf(file), file.size(), picture.rgb.data(), picture.rgb.size(), 4 * header.width) ==
      nullptr) {
    return Damaged("WebP", "");
  }
  PutOnWhite(picture);
  return picture;
}

absl::StatusOr<Picture> Decode(std::string_view file, const PictureHeader& header) {
  switch (header.format) {
    case PictureFormat::kPng:
      return DecodePng(file, header);
    case PictureFormat::kJpeg:
      return DecodeJpeg(file, header);
    case PictureFormat::kWebp:
      return DecodeWebp(file, header);
  }
  return absl::InternalError("has no format");
}

}  // namespace

absl::StatusOr<Picture> ReadPicture(std::string_view file, int64_t max_pixels, int width, int height) {
  ASSIGN_OR_RETURN(const PictureHeader header, ReadPictureHeader(file, max_pixels));
  ASSIGN_OR_RETURN(const Picture stored, Decode(file, header));
  // The small picture is turned, not the large one.
  if (header.orientation > 4) std::swap(width, height);
  Picture picture = CoverAndCrop(stored, width, height);
  return header.orientation == 1 ? picture : Oriented(picture, header.orientation);
}

absl::StatusOr<std::string> ToPng(const Picture& picture) {
  png_image image = {};
  image.version = PNG_IMAGE_VERSION;
  image.width = static_cast<uint32_t>(picture.width);
  image.height = static_cast<uint32_t>(picture.height);
  image.format = PNG_FORMAT_RGB;
  png_alloc_size_t bytes = PNG_IMAGE_PNG_SIZE_MAX(image);
  std::string file(bytes, '\0');
  if (png_image_write_to_memory(&image, file.data(), &bytes, 0, picture.rgb.data(), 0, nullptr) == 0) {
    return absl::InternalError(absl::StrCat("cannot be written as PNG: ", image.message));
  }
  file.resize(bytes);
  file.shrink_to_fit();
  return file;
}

std::string PictureDigest(std::string_view file) {
  std::array<unsigned char, SHA256_DIGEST_LENGTH> sum;
  SHA256(BytesOf(file), file.size(), sum.data());
  return absl::BytesToHexString(std::string(sum.begin(), sum.end()));
}

}  // namespace longtake::server
