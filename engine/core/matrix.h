// Views of matrices. A view never owns memory; `Buffer` (ops/device.h) does.
//
// Kernels compiled for one instruction set include this header. It therefore uses no code of the standard library, and
// those kernels use its types but not its functions (cpu/kernels/kernel_table.h explains why).
#ifndef LONGTAKE_ENGINE_CORE_MATRIX_H_
#define LONGTAKE_ENGINE_CORE_MATRIX_H_

#include <cstddef>
#include <cstdint>

namespace longtake {

enum class DType : uint8_t { kF32, kBF16, kF16, kI64, kI32, kI8, kU8, kE4m3 };

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
    case DType::kI8:
    case DType::kU8:
    case DType::kE4m3:
      return 1;
  }
  return 0;
}

// A row-major matrix, f32 or bf16, in memory that the backend can address. Rows are `stride` elements apart, so that a
// view can cover some columns of another view.
struct ConstMat {
  const void* data = nullptr;
  DType dtype = DType::kF32;
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t stride = 0;

  // Columns [first, first + count) of the same rows.
  ConstMat Cols(int64_t first, int64_t count) const {
    return {static_cast<const std::byte*>(data) + first * static_cast<int64_t>(SizeOf(dtype)), dtype, rows, count,
            stride};
  }
  // Rows [first, first + count).
  ConstMat Rows(int64_t first, int64_t count) const {
    return {static_cast<const std::byte*>(data) + first * stride * static_cast<int64_t>(SizeOf(dtype)), dtype, count,
            cols, stride};
  }
};

struct Mat {
  void* data = nullptr;
  DType dtype = DType::kF32;
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t stride = 0;

  operator ConstMat() const { return {data, dtype, rows, cols, stride}; }  // NOLINT: a view narrows to a const view

  // Like those of ConstMat.
  Mat Cols(int64_t first, int64_t count) const {
    return {static_cast<std::byte*>(data) + first * static_cast<int64_t>(SizeOf(dtype)), dtype, rows, count, stride};
  }
  Mat Rows(int64_t first, int64_t count) const {
    return {static_cast<std::byte*>(data) + first * stride * static_cast<int64_t>(SizeOf(dtype)), dtype, count, cols,
            stride};
  }
};

inline Mat MakeMat(void* data, DType dtype, int64_t rows, int64_t cols) { return {data, dtype, rows, cols, cols}; }
inline ConstMat MakeMat(const void* data, DType dtype, int64_t rows, int64_t cols) {
  return {data, dtype, rows, cols, cols};
}

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_CORE_MATRIX_H_
