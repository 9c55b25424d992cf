// Big-endian integers and nested boxes.
#ifndef LONGTAKE_SERVER_MEDIA_BOX_WRITER_H_
#define LONGTAKE_SERVER_MEDIA_BOX_WRITER_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "absl/strings/string_view.h"

namespace longtake::media {

class BoxWriter {
 public:
  void U8(uint8_t value) { bytes_.push_back(static_cast<char>(value)); }
  void U16(uint16_t value) { BigEndian(value, 2); }
  void U32(uint32_t value) { BigEndian(value, 4); }
  void U64(uint64_t value) { BigEndian(value, 8); }
  void Zeros(size_t count) { bytes_.append(count, '\0'); }
  void Bytes(absl::string_view bytes) { bytes_.append(bytes.data(), bytes.size()); }

  // A box of what `body` writes. `type` is four characters.
  template <typename Body>
  void Box(absl::string_view type, Body body) {
    const size_t start = bytes_.size();
    U32(0);
    Bytes(type);
    body();
    SetU32(start, static_cast<uint32_t>(bytes_.size() - start));
  }
  // The same with version and flags.
  template <typename Body>
  void FullBox(absl::string_view type, uint8_t version, uint32_t flags, Body body) {
    Box(type, [&] {
      U32(uint32_t{version} << 24 | flags);
      body();
    });
  }

  // Replaces four bytes that were written before.
  void SetU32(size_t position, uint32_t value) {
    for (int i = 0; i < 4; ++i) bytes_[position + i] = static_cast<char>(value >> (24 - 8 * i));
  }
  size_t size() const { return bytes_.size(); }
  std::string Take() { return std::move(bytes_); }

 private:
  void BigEndian(uint64_t value, int bytes) {
    for (int i = bytes - 1; i >= 0; --i) U8(static_cast<uint8_t>(value >> (8 * i)));
  }
  std::string bytes_;
};

}  // namespace longtake::media

#endif  // LONGTAKE_SERVER_MEDIA_BOX_WRITER_H_
