// What a picture's file says of itself: format, size and orientation. Nothing here allocates, and every read is within
// the file.
#include <algorithm>
#include <array>
#include <cstring>
#include <optional>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "server/image/image.h"

namespace longtake::server {
namespace {

using Bytes = std::string_view;

constexpr Bytes kPngSignature = "\x89PNG\r\n\x1a\n";

// Numbers in a file; 0 beyond its end.
uint32_t Byte(Bytes file, size_t at) { return at < file.size() ? static_cast<uint8_t>(file[at]) : 0; }
uint32_t Big16(Bytes file, size_t at) { return Byte(file, at) << 8 | Byte(file, at + 1); }
uint32_t Big32(Bytes file, size_t at) { return Big16(file, at) << 16 | Big16(file, at + 2); }
uint32_t Little16(Bytes file, size_t at) { return Byte(file, at) | Byte(file, at + 1) << 8; }
uint32_t Little32(Bytes file, size_t at) { return Little16(file, at) | Little16(file, at + 2) << 16; }

Bytes Part(Bytes file, size_t at, size_t bytes) { return at >= file.size() ? Bytes() : file.substr(at, bytes); }

// Of a TIFF structure, as EXIF is one: the entry 0x0112 of its first directory. 1 where there is none.
int OrientationOf(Bytes tiff) {
  const bool big = tiff.starts_with(Bytes("MM\0*", 4));
  if (!big && !tiff.starts_with(Bytes("II*\0", 4))) return 1;
  const auto n16 = [&](size_t at) { return big ? Big16(tiff, at) : Little16(tiff, at); };
  const size_t directory = big ? Big32(tiff, 4) : Little32(tiff, 4);
  const uint32_t entries = n16(directory);
  for (uint32_t i = 0; i < entries; ++i) {
    const size_t entry = directory + 2 + size_t{12} * i;
    if (entry + 12 > tiff.size()) break;
    if (n16(entry) != 0x0112) continue;
    const uint32_t value = n16(entry + 8);
    return value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
  }
  return 1;
}

std::optional<PictureHeader> ReadPng(Bytes file) {
  if (Part(file, 12, 4) != "IHDR" || file.size() < 33) return std::nullopt;
  PictureHeader header{.format = PictureFormat::kPng};
  header.width = static_cast<int>(std::min<uint32_t>(Big32(file, 16), INT32_MAX));
  header.height = static_cast<int>(std::min<uint32_t>(Big32(file, 20), INT32_MAX));
  for (size_t at = kPngSignature.size(); at + 12 <= file.size();) {
    const size_t bytes = Big32(file, at);
    if (Part(file, at + 4, 4) == "eXIf") header.orientation = OrientationOf(Part(file, at + 8, bytes));
    at += 12 + bytes;
  }
  return header;
}

std::optional<PictureHeader> ReadJpeg(Bytes file) {
  PictureHeader header{.format = PictureFormat::kJpeg};
  for (size_t at = 2; at + 4 <= file.size();) {
    if (Byte(file, at) != 0xff) return std::nullopt;
    const uint32_t marker = Byte(file, at + 1);
    if (marker == 0xff) {  // padding
      ++at;
      continue;
    }
    const size_t bytes = Big16(file, at + 2);
    // Start of a frame: its baseline, progressive and other forms, but not the tables between them.
    if (marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc) {
      if (at + 9 > file.size()) return std::nullopt;
      header.height = static_cast<int>(Big16(file, at + 5));
      header.width = static_cast<int>(Big16(file, at + 7));
      return header;
    }
    const Bytes content = Part(file, at + 4, bytes < 2 ? 0 : bytes - 2);
    constexpr Bytes kExif("Exif\0\0", 6);
    if (marker == 0xe1 && content.starts_with(kExif)) header.orientation = OrientationOf(content.substr(kExif.size()));
    if (marker == 0xda || marker == 0xd9 || bytes < 2) return std::nullopt;  // data or the end before a frame
    at += 2 + bytes;
  }
  return std::nullopt;
}

absl::StatusOr<PictureHeader> ReadWebp(Bytes file) {
  PictureHeader header{.format = PictureFormat::kWebp};
  const Bytes first = Part(file, 12, 4);
  if (first == "VP8X" && file.size() >= 30) {
    if ((Byte(file, 20) & 2) != 0) return absl::InvalidArgumentError("is an animated WebP; a single picture is wanted");
    header.width = static_cast<int>(1 + (Little16(file, 24) | Byte(file, 26) << 16));
    header.height = static_cast<int>(1 + (Little16(file, 27) | Byte(file, 29) << 16));
    for (size_t at = 12; at + 8 <= file.size();) {
      const size_t bytes = Little32(file, at + 4);
      Bytes content = Part(file, at + 8, bytes);
      if (Part(file, at, 4) == "EXIF") {
        // Some programs write JPEG's prefix here too.
        if (content.starts_with(Bytes("Exif\0\0", 6))) content.remove_prefix(6);
        header.orientation = OrientationOf(content);
      }
      at += 8 + bytes + bytes % 2;
    }
  } else if (first == "VP8 " && file.size() >= 30) {
    header.width = static_cast<int>(Little16(file, 26) & 0x3fff);
    header.height = static_cast<int>(Little16(file, 28) & 0x3fff);
  } else if (first == "VP8L" && file.size() >= 25) {
    const uint32_t bits = Little32(file, 21);
    header.width = static_cast<int>(1 + (bits & 0x3fff));
    header.height = static_cast<int>(1 + (bits >> 14 & 0x3fff));
  } else {
    return absl::InvalidArgumentError("is a WebP picture whose header is damaged");
  }
  return header;
}

absl::StatusOr<PictureHeader> ReadAny(Bytes file) {
  if (file.starts_with(kPngSignature)) {
    if (const auto header = ReadPng(file); header.has_value()) return *header;
    return absl::InvalidArgumentError("is a PNG picture whose header is damaged");
  }
  if (file.starts_with("\xff\xd8\xff")) {
    if (const auto header = ReadJpeg(file); header.has_value()) return *header;
    return absl::InvalidArgumentError("is a JPEG picture whose header is damaged");
  }
  if (file.starts_with("RIFF") && Part(file, 8, 4) == "WEBP") return ReadWebp(file);
  return absl::InvalidArgumentError("is not a PNG, JPEG or WebP picture");
}

}  // namespace

absl::StatusOr<PictureHeader> ReadPictureHeader(std::string_view file, int64_t max_pixels) {
  absl::StatusOr<PictureHeader> header = ReadAny(file);
  if (!header.ok()) return header;
  if (header->width < 1 || header->height < 1) return absl::InvalidArgumentError("has no pixels");
  if (int64_t{header->width} * header->height > max_pixels) {
    return absl::InvalidArgumentError(
        absl::StrCat("has ", header->width, "x", header->height, " pixels, above the limit of ", max_pixels));
  }
  return header;
}

}  // namespace longtake::server
