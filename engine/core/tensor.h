// Views of tensors. A view never owns memory; `Buffer` (ops/ops.h) does.
#ifndef LONGTAKE_ENGINE_CORE_TENSOR_H_
#define LONGTAKE_ENGINE_CORE_TENSOR_H_

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace longtake {

enum class DType : uint8_t { kF32, kBF16, kF16, kI64, kI32, kU8 };

// Bytes of one element.
constexpr size_t SizeOf(DType t) {
  switch (t) {
    case DType::kF32:
    case DType::kI32:
      return 4;
    case DType::kBF16:
    case DType::kF16:
      return 2;
    case DType::kI64:
      return 8;
    case DType::kU8:
      return 1;
  }
  return 0;
}

// "float32", "bfloat16", ...: the spelling of command lines and config files.
std::string_view Name(DType t);

// A row-major matrix of activations or weights, f32 or bf16, in memory that the backend can address. Rows are `stride`
// elements apart, so that a view can be some of another's columns.
struct ConstMat {
  const void* data = nullptr;
  DType dtype = DType::kF32;
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t stride = 0;
};

struct Mat {
  void* data = nullptr;
  DType dtype = DType::kF32;
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t stride = 0;

  operator ConstMat() const { return {data, dtype, rows, cols, stride}; }  // NOLINT: a view narrows to a const view

  // Columns [first, first + count) of the same rows.
  Mat Cols(int64_t first, int64_t count) const {
    return {static_cast<std::byte*>(data) + first * static_cast<int64_t>(SizeOf(dtype)), dtype, rows, count, stride};
  }
  // Rows [first, first + count).
  Mat Rows(int64_t first, int64_t count) const {
    return {static_cast<std::byte*>(data) + first * stride * static_cast<int64_t>(SizeOf(dtype)), dtype, count, cols,
            stride};
  }
};

inline Mat MakeMat(void* data, DType dtype, int64_t rows, int64_t cols) { return {data, dtype, rows, cols, cols}; }
inline ConstMat MakeMat(const void* data, DType dtype, int64_t rows, int64_t cols) {
  return {data, dtype, rows, cols, cols};
}

// A tensor as a file holds it: contiguous, row-major, in host memory.
struct HostTensor {
  const void* data = nullptr;
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;

  int64_t elements() const {
    int64_t n = 1;
    for (int64_t d : shape) n *= d;
    return n;
  }
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_CORE_TENSOR_H_
