// Conversions of numbers narrower than bfloat16, for host and device: e4m3 (float8 with 4 exponent and 3 mantissa bits,
// up to 448) and e2m1 (float4: 0, 0.5, 1, 1.5, 2, 3, 4, 6 and their negatives). Encoding rounds to nearest, ties to
// even, and saturates; NaN stays NaN in e4m3.
// CMakeLists.txt defines LONGTAKE_HOST_DEVICE: __host__ __device__ for nvcc, empty for other compilers.
#ifndef LONGTAKE_ENGINE_CORE_NARROW_FLOATS_H_
#define LONGTAKE_ENGINE_CORE_NARROW_FLOATS_H_

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

// The code of element `at` of a row that has two in a byte, the first in the low half.
LONGTAKE_HOST_DEVICE inline uint8_t E2m1Code(const uint8_t* row, int64_t at) {
  return static_cast<uint8_t>(row[at / 2] >> (at % 2 * 4) & 15);
}

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_CORE_NARROW_FLOATS_H_
