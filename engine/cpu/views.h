// Access to rows and single elements of views, for loops that do not need a kernel.
#ifndef LONGTAKE_ENGINE_CPU_VIEWS_H_
#define LONGTAKE_ENGINE_CPU_VIEWS_H_

#include <cstddef>
#include <cstdint>

#include "engine/core/float16.h"
#include "engine/core/matrix.h"

namespace longtake::cpu {

inline int64_t RoundUp(int64_t n, int64_t to) { return (n + to - 1) / to * to; }
// Inputs that one multiply-add of this type takes, which packed weights keep together: 4 bytes of them.
constexpr int64_t StepOf(DType type) { return 4 / static_cast<int64_t>(SizeOf(type)); }
inline int64_t BytesOf(DType type) { return static_cast<int64_t>(SizeOf(type)); }

inline const std::byte* RowAt(const ConstMat& m, int64_t row) {
  return static_cast<const std::byte*>(m.data) + row * m.stride * BytesOf(m.dtype);
}
inline std::byte* RowAt(const Mat& m, int64_t row) {
  return static_cast<std::byte*>(m.data) + row * m.stride * BytesOf(m.dtype);
}

// Of an f32 view.
inline const float* Floats(const ConstMat& m, int64_t row) { return reinterpret_cast<const float*>(RowAt(m, row)); }
inline float* Floats(const Mat& m, int64_t row) { return reinterpret_cast<float*>(RowAt(m, row)); }

inline float ReadElement(const ConstMat& m, int64_t row, int64_t column) {
  const std::byte* at = RowAt(m, row);
  return m.dtype == DType::kBF16 ? BF16ToFloat(reinterpret_cast<const uint16_t*>(at)[column])
                                 : reinterpret_cast<const float*>(at)[column];
}

inline void WriteElement(const Mat& m, int64_t row, int64_t column, float value) {
  std::byte* at = RowAt(m, row);
  if (m.dtype == DType::kBF16) {
    reinterpret_cast<uint16_t*>(at)[column] = FloatToBF16(value);
  } else {
    reinterpret_cast<float*>(at)[column] = value;
  }
}

}  // namespace longtake::cpu

#endif  // LONGTAKE_ENGINE_CPU_VIEWS_H_
