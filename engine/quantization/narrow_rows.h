// Quantizes weights on the host: for the cuda backend, and for the cpu backend, which emulates the same formats to
// measure their quality.
#ifndef LONGTAKE_ENGINE_QUANTIZATION_NARROW_ROWS_H_
#define LONGTAKE_ENGINE_QUANTIZATION_NARROW_ROWS_H_

#include <cstdint>
#include <span>
#include <vector>

#include "engine/core/quantized_matrix.h"

namespace longtake {

// Quantized rows in the layout that devices read: `stride` elements a row, with zeros after the columns.
struct NarrowRows {
  std::vector<uint8_t> data;    // e4m3: one byte each; e2m1: two in a byte, the first in the low half
  std::vector<uint8_t> scales;  // e4m3: one float32 a row; NVFP4: e4m3 bytes in the tiles of formats.h
  float tensor_scale = 1.f;     // NVFP4 only
};

// `weights` is f32 [rows, columns].
NarrowRows ToE4m3Rows(std::span<const float> weights, int64_t rows, int64_t columns, int64_t stride);
// `stride` must be a multiple of 16.
NarrowRows ToNvfp4Rows(std::span<const float> weights, int64_t rows, int64_t columns, int64_t stride);
// Puts matrices that are quantized already below each other; codes and scales stay as they are. All must have the
// same format, columns and tensor_scale.
NarrowRows StackRows(std::span<const QuantizedMatrix> parts, int64_t stride);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_QUANTIZATION_NARROW_ROWS_H_
