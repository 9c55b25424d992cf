// Conversions between float and 16-bit floats. Widening is exact; narrowing rounds to nearest even.
#ifndef LONGTAKE_ENGINE_CORE_FLOAT16_H_
#define LONGTAKE_ENGINE_CORE_FLOAT16_H_

#include <bit>
#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/core/tensor.h"

namespace longtake {

inline float BF16ToFloat(uint16_t x) { return std::bit_cast<float>(uint32_t{x} << 16); }

inline uint16_t FloatToBF16(float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  if (std::isnan(x)) return static_cast<uint16_t>((bits >> 16) | 0x40);
  return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

inline float F16ToFloat(uint16_t x) {
  const uint32_t sign = uint32_t{x & 0x8000u} << 16;
  const uint32_t exponent = (x >> 10) & 31;
  const uint32_t mantissa = x & 0x3ff;
  if (exponent == 0) return (sign ? -1.f : 1.f) * static_cast<float>(mantissa) * 0x1p-24f;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000u | (mantissa << 13));
  return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
}

// Converts a tensor of any type to float32. Used for weights while loading.
std::vector<float> ToFloats(const HostTensor& t);
// The same of several, one behind the other.
std::vector<float> ToFloats(std::span<const HostTensor> tensors);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_CORE_FLOAT16_H_
