// Numbers narrower than bfloat16, for host and device alike: e4m3 (float8 of 4 and 3 bits, to 448), e2m1 (float4: 0,
// 0.5, 1, 1.5, 2, 3, 4, 6 and their negatives). To the nearest, ties to even, saturating; NaN stays NaN in e4m3.
// LONGTAKE_HOST_DEVICE comes from CMakeLists.txt: for nvcc it says that a function is for both, else nothing.
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
    // Times a power of two the mantissa has three bits before the point; the rounding may carry into the exponent.
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
  // Halfway points; a tie goes to the even code.
  const int code = (a > 0.25f) + (a >= 0.75f) + (a > 1.25f) + (a >= 1.75f) + (a > 2.5f) + (a >= 3.5f) + (a > 5.f);
  return static_cast<uint8_t>(code | (std::signbit(x) ? 8 : 0));
}

LONGTAKE_HOST_DEVICE inline float DecodeE2m1(uint8_t code) {
  const int exponent = code >> 1 & 3, mantissa = code & 1;
  const float a =
      exponent == 0 ? 0.5f * static_cast<float>(mantissa) : ldexpf(static_cast<float>(2 + mantissa), exponent - 2);
  return (code & 8) != 0 ? -a : a;
}

// ---- NVFP4: e2m1 elements, an e4m3 scale for each 16 of a row, one float32 scale for the matrix
// ------------------------

constexpr int kNvfp4Block = 16;

// Scales lie in tiles of 128 rows by 4 blocks, 512 bytes each; tiles of a row of tiles one after the other. In a tile
// the rows are interleaved: row r and block b at (r % 32) * 16 + (r / 32) * 4 + b.
LONGTAKE_HOST_DEVICE inline int64_t Nvfp4ScaleOffset(int64_t row, int64_t block, int64_t blocks) {
  const int64_t tiles = (blocks + 3) / 4;
  const int64_t r = row % 128;
  return (row / 128 * tiles + block / 4) * 512 + r % 32 * 16 + r / 32 * 4 + block % 4;
}
// Bytes of all tiles; those of rows and blocks that do not exist must be zeros.
LONGTAKE_HOST_DEVICE inline int64_t Nvfp4ScaleBytes(int64_t rows, int64_t blocks) {
  return (rows + 127) / 128 * ((blocks + 3) / 4) * 512;
}

// Activations have this float32 scale, whatever they are: a matrix's own largest value would make a row's bytes depend
// on the rows beside it. Blocks of up to 6 * 448 / 8 = 336 are represented without saturating, and scales of blocks
// above 6 * 2^-6 / 8 = 0.012 without losing bits.
constexpr float kNvfp4ActivationScale = 0.125f;

// A block's scale, and what its elements are multiplied by before EncodeE2m1. `largest` is the block's largest
// magnitude.
LONGTAKE_HOST_DEVICE inline uint8_t Nvfp4Scale(float largest, float tensor_scale, float* inverse) {
  const uint8_t scale = EncodeE4m3(largest / (kLargestE2m1 * tensor_scale));
  const float decoded = DecodeE4m3(scale) * tensor_scale;
  *inverse = decoded > 0.f ? 1.f / decoded : 0.f;
  return scale;
}

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_QUANTIZATION_FORMATS_H_
