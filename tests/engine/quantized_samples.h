// Quantized weights of random codes and scales, and rows of activations that lose nothing when they are quantized.
#ifndef LONGTAKE_TESTS_ENGINE_QUANTIZED_SAMPLES_H_
#define LONGTAKE_TESTS_ENGINE_QUANTIZED_SAMPLES_H_

#include <cstdint>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "engine/core/quantized_matrix.h"
#include "engine/core/tensor.h"

namespace longtake {

struct QuantizedSample {
  Quantization format;
  int64_t rows, columns;
  std::vector<uint8_t> codes, block_scales;
  std::vector<float> row_scales;
  float tensor_scale;

  QuantizedMatrix matrix() const {
    return {format, rows, columns, codes.data(), row_scales, block_scales.data(), tensor_scale};
  }
  // The tensors of layer `name`, as ModelOpt names them.
  void AddTo(std::map<std::string, HostTensor>* tensors, const std::string& name) const {
    if (format == Quantization::kFloat8) {
      (*tensors)[name + ".weight"] = {codes.data(), DType::kE4m3, {rows, columns}};
      (*tensors)[name + ".weight_scale"] = {row_scales.data(), DType::kF32, {rows}};
      return;
    }
    (*tensors)[name + ".weight"] = {codes.data(), DType::kU8, {rows, columns / 2}};
    (*tensors)[name + ".weight_scale"] = {block_scales.data(), DType::kE4m3, {rows, columns / kNvfp4Block}};
    (*tensors)[name + ".weight_scale_2"] = {&tensor_scale, DType::kF32, {}};
    (*tensors)[name + ".input_scale"] = {&tensor_scale, DType::kF32, {}};
  }
};

// No scale is what quantizing the same numbers would choose, so numbers that are quantized again get other codes.
inline QuantizedSample MakeQuantizedSample(Quantization format, int64_t rows, int64_t columns, uint32_t seed,
                                           float tensor_scale = 0.013f) {
  std::mt19937 engine(seed);
  const auto draw = [&](int low, int high) { return std::uniform_int_distribution<int>(low, high)(engine); };
  QuantizedSample s{.format = format, .rows = rows, .columns = columns, .tensor_scale = tensor_scale};
  if (format == Quantization::kFloat8) {
    // e4m3 from 2^-4 to 30, of both signs.
    for (int64_t i = 0; i < rows * columns; ++i) {
      s.codes.push_back(static_cast<uint8_t>(draw(0x18, 0x5f) | (draw(0, 1) << 7)));
    }
    for (int64_t r = 0; r < rows; ++r) s.row_scales.push_back(static_cast<float>(draw(100, 400)) / 6553.f);
    return s;
  }
  for (int64_t i = 0; i < rows * columns / 2; ++i) s.codes.push_back(static_cast<uint8_t>(draw(0, 255)));
  // e4m3 from 1/4 to 7.5.
  for (int64_t i = 0; i < rows * columns / kNvfp4Block; ++i) {
    s.block_scales.push_back(static_cast<uint8_t>(draw(0x28, 0x4f)));
  }
  return s;
}

// [rows, columns] that `format` represents exactly: of float8, whole numbers to 7, for a row's scale is 7 / 448; of
// NVFP4, e2m1's numbers, with a 6 in every block.
inline std::vector<float> ExactRows(Quantization format, int64_t rows, int64_t columns, uint32_t seed) {
  constexpr float kE2m1[] = {0.f, 0.5f, 1.f, 1.5f, 2.f, 3.f, 4.f, 6.f};
  std::mt19937 engine(seed);
  std::vector<float> x(rows * columns);
  for (int64_t i = 0; i < rows * columns; ++i) {
    const int value = std::uniform_int_distribution<int>(0, 7)(engine);
    const float sign = std::uniform_int_distribution<int>(0, 1)(engine) != 0 ? -1.f : 1.f;
    const bool largest = i % columns % kNvfp4Block == 0;
    x[i] =
        sign * (format == Quantization::kFloat8 ? static_cast<float>(largest ? 7 : value) : kE2m1[largest ? 7 : value]);
  }
  return x;
}

}  // namespace longtake

#endif  // LONGTAKE_TESTS_ENGINE_QUANTIZED_SAMPLES_H_
