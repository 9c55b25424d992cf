// Conversions of numbers narrower than bfloat16, for host and device: e4m3 (float8 with 4 exponent and 3 mantissa bits,
// up to 448) and e2m1 (float4: 0, 0.5, 1, 1.5, 2, 3, 4, 6 and their negatives). Encoding rounds to nearest, ties to
// even, and saturates; NaN stays NaN in e4m3.
// CMakeLists.txt defines LONGTAKE_HOST_DEVICE: __host__ __device__ for nvcc, empty for other compilers.
#ifndef LONGTAKE_ENGINE_QUANTIZATION_FORMATS_H_
#define LONGTAKE_ENGINE_QUANTIZATION_FORMATS_H_

#include <cmath>
#include <cstdint>

namespace longtake {

constexpr float kLargestE4m3 = 448.f;
constexpr float kLargestE2m1 = 6.f;

LONGTAKE_HOST_DEVICE inline uint8_t EncodeE4m3(float x) {
  const bool negative = std::signbit(x);
  const float a = fabsf(x);
  uint32_t code;
  if (!(a < kLargestE4m3)) {
    code = a != a ? 0x7f : 0x7e;
  } else if (a < 0x1p-6f) {  // subnormal: steps of 2^-9; 8 of them are the smallest normal number
    code = static_cast<uint32_t>(rintf(a * 0x1p9f));
  } else {
    // mantissa * 16 lies in [8, 16), so its integer part is the code's leading one and three bits. Rounding may carry
    // into the exponent.
    int exponent;
    const float mantissa = frexpf(a, &exponent);  // [0.5, 1)
    code = static_cast<uint32_t>((exponent + 6) * 8 + static_cast<int>(rintf(mantissa * 16.f)) - 8);
  }
  return static_cast<uint8_t>(code | (negative ? 0x80 : 0));
}

LONGTAKE_HOST_DEVICE inline float DecodeE4m3(uint8_t code) {
  const int exponent = code >> 3 & 15, mantissa = code & 7;
  float a = exponent == 0 ? ldexpf(static_cast<float>(mantissa), -9)
                          : ldexpf(static_cast<float>(8 + mantissa), exponent - 10);
  if ((code & 0x7f) == 0x7f) a = NAN;
  return (code & 0x80) != 0 ? -a : a;
}

LONGTAKE_HOST_DEVICE inline uint8_t EncodeE2m1(float x) {
  const float a = fabsf(x);
  // Counts the midpoints below `a`; a tie goes to the even code.
  const int code = (a > 0.25f) + (a >= 0.75f) + (a > 1.25f) + (a >= 1.75f) + (a > 2.5f) + (a >= 3.5f) + (a > 5.f);
  return static_cast<uint8_t>(code | (std::signbit(x) ? 8 : 0));
}

LONGTAKE_HOST_DEVICE inline float DecodeE2m1(uint8_t code) {
  const int exponent = code >> 1 & 3, mantissa = code & 1;
  const float a =
      exponent == 0 ? 0.5f * static_cast<float>(mantissa) : ldexpf(static_cast<float>(2 + mantissa), exponent - 2);
  return (code & 8) != 0 ? -a : a;
}

// ---- NVFP4: e2m1 elements, an e4m3 scale for every 16 of a row, a float32 scale for the matrix

constexpr int kNvfp4Block = 16;

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
