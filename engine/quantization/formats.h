// NVFP4: e2m1 elements, an e4m3 scale for every 16 of a row, a float32 scale for the matrix. For host and device.
#ifndef LONGTAKE_ENGINE_QUANTIZATION_FORMATS_H_
#define LONGTAKE_ENGINE_QUANTIZATION_FORMATS_H_

#include <cstdint>

#include "engine/core/narrow_floats.h"
#include "engine/core/quantized_matrix.h"

namespace longtake {

// Scales are stored in tiles of 128 rows by 4 blocks, 512 bytes each. The tiles of the same rows follow each other. In
// a tile, the scale of row r and block b is at (r % 32) * 16 + (r / 32) * 4 + b.
LONGTAKE_HOST_DEVICE inline int64_t Nvfp4ScaleOffset(int64_t row, int64_t block, int64_t blocks) {
  const int64_t tiles = (blocks + 3) / 4;
  const int64_t r = row % 128;
  return (row / 128 * tiles + block / 4) * 512 + r % 32 * 16 + r / 32 * 4 + block % 4;
}
// Bytes of all tiles. The scales of rows and blocks beyond the matrix must be zero.
LONGTAKE_HOST_DEVICE inline int64_t Nvfp4ScaleBytes(int64_t rows, int64_t blocks) {
  return (rows + 127) / 128 * ((blocks + 3) / 4) * 512;
}

// The fixed float32 scale of all activations. If it came from a matrix's largest value, a row's bytes would depend on
// the other rows. With 0.125, blocks of up to 6 * 448 / 8 = 336 do not saturate, and the scales of blocks above 6 *
// 2^-6 / 8 = 0.012 lose no bits.
constexpr float kNvfp4ActivationScale = 0.125f;

// Returns a block's scale and sets the factor for its elements before EncodeE2m1. `largest` is the block's largest
// magnitude.
LONGTAKE_HOST_DEVICE inline uint8_t Nvfp4Scale(float largest, float tensor_scale, float* inverse) {
  const uint8_t scale = EncodeE4m3(largest / (kLargestE2m1 * tensor_scale));
  const float decoded = DecodeE4m3(scale) * tensor_scale;
  *inverse = decoded > 0.f ? 1.f / decoded : 0.f;
  return scale;
}

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_QUANTIZATION_FORMATS_H_
