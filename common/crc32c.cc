#include "common/crc32c.h"

#include <array>

namespace longtake {
namespace {

constexpr uint32_t kPolynomial = 0x82f63b78;  // bit-reversed
constexpr int kBytesAtOnce = 8;

using Tables = std::array<std::array<uint32_t, 256>, kBytesAtOnce>;

// Entry [k][b] is the contribution of byte b to the checksum when k bytes follow it.
constexpr Tables MakeTables() {
  Tables tables{};
  for (uint32_t b = 0; b < 256; ++b) {
    uint32_t sum = b;
    for (int bit = 0; bit < 8; ++bit) sum = sum >> 1 ^ ((sum & 1) != 0 ? kPolynomial : 0);
    tables[0][b] = sum;
  }
  for (int k = 1; k < kBytesAtOnce; ++k) {
    for (uint32_t b = 0; b < 256; ++b) {
      const uint32_t before = tables[k - 1][b];
      tables[k][b] = before >> 8 ^ tables[0][before & 0xff];
    }
  }
  return tables;
}

constexpr Tables kTables = MakeTables();

}  // namespace

uint32_t Crc32c(std::span<const std::byte> bytes, uint32_t before) {
  uint32_t sum = ~before;
  const auto* data = reinterpret_cast<const uint8_t*>(bytes.data());
  size_t left = bytes.size();
  for (; left >= kBytesAtOnce; left -= kBytesAtOnce, data += kBytesAtOnce) {
    sum = kTables[7][data[0] ^ (sum & 0xff)] ^ kTables[6][data[1] ^ (sum >> 8 & 0xff)] ^
          kTables[5][data[2] ^ (sum >> 16 & 0xff)] ^ kTables[4][data[3] ^ sum >> 24] ^ kTables[3][data[4]] ^
          kTables[2][data[5]] ^ kTables[1][data[6]] ^ kTables[0][data[7]];
  }
  for (; left > 0; --left, ++data) sum = sum >> 8 ^ kTables[0][(sum ^ *data) & 0xff];
  return ~sum;
}

}  // namespace longtake
