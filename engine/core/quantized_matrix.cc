#include "engine/core/quantized_matrix.h"

#include "engine/core/narrow_floats.h"

namespace longtake {

std::string_view Name(Quantization q) {
  switch (q) {
    case Quantization::kNone:
      return "";
    case Quantization::kInt8:
      return "int8";
    case Quantization::kFloat8:
      return "float8";
    case Quantization::kNvfp4:
      return "nvfp4";
  }
  return "?";
}

std::vector<float> ToFloats(const QuantizedMatrix& m) {
  std::vector<float> out(m.rows * m.columns);
  for (int64_t r = 0; r < m.rows; ++r) {
    float* const row = out.data() + r * m.columns;
    if (m.format == Quantization::kFloat8) {
      for (int64_t c = 0; c < m.columns; ++c) row[c] = DecodeE4m3(m.codes[r * m.columns + c]) * m.row_scales[r];
      continue;
    }
    for (int64_t c = 0; c < m.columns; ++c) {
      const int64_t at = r * m.columns + c;
      row[c] = DecodeE2m1(E2m1Code(m.codes, at)) * (DecodeE4m3(m.block_scales[at / kNvfp4Block]) * m.tensor_scale);
    }
  }
  return out;
}

}  // namespace longtake
