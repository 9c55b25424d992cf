// Weights in the types that devices multiply, made on the host: for the cuda backend, and for the cpu backend, which
// computes the same formats for evaluations.
#ifndef LONGTAKE_ENGINE_QUANTIZATION_NARROW_ROWS_H_
#define LONGTAKE_ENGINE_QUANTIZATION_NARROW_ROWS_H_

#include <cstdint>
#include <span>
#include <vector>

namespace longtake {

// As a device reads them: rows of `stride` elements, zeros behind the columns.
struct NarrowRows {
  std::vector<uint8_t> data;    // e4m3 a byte each; e2m1 two in a byte, the first in the low half
  std::vector<uint8_t> scales;  // e4m3: float32 for each row. NVFP4: formats.h's tiles
  float tensor_scale = 1.f;     // NVFP4
};

// `weights` [rows, columns] f32.
NarrowRows ToE4m3Rows(std::span<const float> weights, int64_t rows, int64_t columns, int64_t stride);
// `stride` is a multiple of 16.
NarrowRows ToNvfp4Rows(std::span<const float> weights, int64_t rows, int64_t columns, int64_t stride);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_QUANTIZATION_NARROW_ROWS_H_
