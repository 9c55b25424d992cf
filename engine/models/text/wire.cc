#include "engine/models/text/wire.h"

#include <bit>
#include <cstring>

namespace longtake {

bool WireReader::Varint(uint64_t* value) {
  *value = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    if (rest_.empty()) return false;
    const auto byte = static_cast<uint8_t>(rest_[0]);
    rest_.remove_prefix(1);
    *value |= uint64_t{byte & 0x7fu} << shift;
    if (byte < 0x80) return true;
  }
  return false;
}

bool WireReader::Fixed(size_t bytes) {
  if (rest_.size() < bytes) return false;
  std::memcpy(&number_, rest_.data(), bytes);  // little-endian, like the host
  rest_.remove_prefix(bytes);
  return true;
}

bool WireReader::Next() {
  static_assert(std::endian::native == std::endian::little);
  if (!ok_ || rest_.empty()) return false;
  number_ = 0;
  bytes_ = {};
  uint64_t tag, length;
  ok_ = Varint(&tag) && tag >> 3 != 0 && tag >> 32 == 0;
  if (!ok_) return false;
  field_ = static_cast<uint32_t>(tag >> 3);
  switch (tag & 7) {
    case 0:
      ok_ = Varint(&number_);
      break;
    case 1:
      ok_ = Fixed(8);
      break;
    case 2:
      ok_ = Varint(&length) && length <= rest_.size();
      if (!ok_) break;
      bytes_ = rest_.substr(0, length);
      rest_.remove_prefix(length);
      break;
    case 5:
      ok_ = Fixed(4);
      break;
    default:
      ok_ = false;
  }
  return ok_;
}

float WireReader::fixed_float() const { return std::bit_cast<float>(static_cast<uint32_t>(number_)); }

}  // namespace longtake
