#include "engine/quantization/narrow_rows.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "engine/quantization/formats.h"

namespace longtake {
namespace {

float Largest(std::span<const float> values) {
  float largest = 0.f;
  for (const float v : values) largest = std::max(largest, std::abs(v));
  return largest;
}

}  // namespace

// Each row, which is an output channel, has its own scale.
NarrowRows ToE4m3Rows(std::span<const float> weights, int64_t rows, int64_t columns, int64_t stride) {
  NarrowRows out;
  out.data.resize(rows * stride);
  out.scales.resize(rows * sizeof(float));
  for (int64_t r = 0; r < rows; ++r) {
    const auto row = weights.subspan(r * columns, columns);
    const float largest = Largest(row), scale = largest > 0.f ? largest / kLargestE4m3 : 1.f;
    reinterpret_cast<float*>(out.scales.data())[r] = scale;
    for (int64_t c = 0; c < columns; ++c) out.data[r * stride + c] = EncodeE4m3(row[c] / scale);
  }
  return out;
}

NarrowRows ToNvfp4Rows(std::span<const float> weights, int64_t rows, int64_t columns, int64_t stride) {
  const int64_t blocks = stride / kNvfp4Block;
  NarrowRows out;
  out.data.resize(rows * stride / 2);
  out.scales.resize(Nvfp4ScaleBytes(rows, blocks));
  const float largest = Largest(weights);
  out.tensor_scale = largest > 0.f ? largest / (kLargestE2m1 * kLargestE4m3) : 1.f;
  for (int64_t r = 0; r < rows; ++r) {
    const auto row = weights.subspan(r * columns, columns);
    for (int64_t b = 0; b < blocks; ++b) {
      const int64_t first = std::min(b * kNvfp4Block, columns);
      const auto block = row.subspan(first, std::min<int64_t>(kNvfp4Block, columns - first));
      float inverse;
      out.scales[Nvfp4ScaleOffset(r, b, blocks)] = Nvfp4Scale(Largest(block), out.tensor_scale, &inverse);
      for (size_t i = 0; i < block.size(); ++i) {
        const int code = EncodeE2m1(block[i] * inverse) << (i % 2 * 4);
        uint8_t& pair = out.data[(r * stride + first + static_cast<int64_t>(i)) / 2];
        pair = static_cast<uint8_t>(pair | code);
      }
    }
  }
  return out;
}

NarrowRows StackRows(std::span<const QuantizedMatrix> parts, int64_t stride) {
  const bool nvfp4 = parts[0].format == Quantization::kNvfp4;
  const int64_t columns = parts[0].columns, blocks = stride / kNvfp4Block;
  // Bytes of codes of a row, as stored and as kept.
  const int64_t from_bytes = nvfp4 ? columns / 2 : columns, to_bytes = nvfp4 ? stride / 2 : stride;
  int64_t rows = 0;
  for (const QuantizedMatrix& part : parts) rows += part.rows;
  NarrowRows out{.data = std::vector<uint8_t>(rows * to_bytes), .scales = {}, .tensor_scale = parts[0].tensor_scale};
  out.scales.resize(nvfp4 ? Nvfp4ScaleBytes(rows, blocks) : rows * static_cast<int64_t>(sizeof(float)));
  int64_t row = 0;
  for (const QuantizedMatrix& part : parts) {
    for (int64_t r = 0; r < part.rows; ++r, ++row) {
      std::memcpy(out.data.data() + row * to_bytes, part.codes + r * from_bytes, from_bytes);
      if (!nvfp4) {
        reinterpret_cast<float*>(out.scales.data())[row] = part.row_scales[r];
        continue;
      }
      const int64_t in_row = columns / kNvfp4Block;
      for (int64_t b = 0; b < in_row; ++b) {
        out.scales[Nvfp4ScaleOffset(row, b, blocks)] = part.block_scales[r * in_row + b];
      }
    }
  }
  return out;
}

}  // namespace longtake
