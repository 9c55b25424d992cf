// Weights with fewer bits than a 16-bit float, as files hold them.
#ifndef LONGTAKE_ENGINE_CORE_QUANTIZED_MATRIX_H_
#define LONGTAKE_ENGINE_CORE_QUANTIZED_MATRIX_H_

#include <cstdint>
#include <string_view>
#include <vector>

namespace longtake {

enum class Quantization { kNone, kInt8, kFloat8, kNvfp4 };

// "float8", "nvfp4", ...: the name in command lines. Of kNone an empty string.
std::string_view Name(Quantization q);

constexpr int kNvfp4Block = 16;  // elements that have one scale

// A matrix in one of ModelOpt's two layouts, which diffusers reads as well (diffusers 0.42, quantizers/bfl/utils.py).
// It owns no codes: they are valid as long as what they were read from.
//   kFloat8: codes e4m3 [rows, columns], one scale a row.
//   kNvfp4: codes e2m1 [rows, columns / 2], two in a byte, the even column in the low half; scales e4m3
//   [rows, columns / 16], and one for the matrix.
// An element is its code times its scales.
struct QuantizedMatrix {
  Quantization format = Quantization::kNone;
  int64_t rows = 0, columns = 0;
  const uint8_t* codes = nullptr;
  std::vector<float> row_scales;          // kFloat8 only
  const uint8_t* block_scales = nullptr;  // kNvfp4 only
  float tensor_scale = 1.f;               // kNvfp4 only
};

// [rows, columns]; products of three factors are rounded once for each.
std::vector<float> ToFloats(const QuantizedMatrix& m);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_CORE_QUANTIZED_MATRIX_H_
