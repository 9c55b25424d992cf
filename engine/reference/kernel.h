// Internal to reference/: packed weights, access to float32 views, and the epilogue.
#ifndef LONGTAKE_ENGINE_REFERENCE_KERNEL_H_
#define LONGTAKE_ENGINE_REFERENCE_KERNEL_H_

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "engine/core/tensor.h"
#include "engine/ops/activated.h"
#include "engine/ops/epilogue.h"
#include "engine/ops/weights.h"

namespace longtake::reference {

// Weights [outputs][tap][input] and bias [outputs], which is zero if the layer has none.
class Kernel final : public PackedKernel {
 public:
  Kernel(const KernelShape& shape, std::vector<float> weight, std::vector<float> bias)
      : PackedKernel(shape), weight_(std::move(weight)), bias_(std::move(bias)) {}
  size_t bytes() const override { return (weight_.size() + bias_.size()) * sizeof(float); }
  const float* row(int64_t output) const { return weight_.data() + output * shape().taps() * shape().inputs; }
  const float* tap(int64_t output, int tap) const { return row(output) + tap * shape().inputs; }
  float bias(int64_t output) const { return bias_[output]; }

 private:
  std::vector<float> weight_, bias_;
};

inline const Kernel& AsKernel(const PackedKernel& k) { return static_cast<const Kernel&>(k); }
inline const float* Row(const ConstMat& m, int64_t r) { return static_cast<const float*>(m.data) + r * m.stride; }
inline float* Row(const Mat& m, int64_t r) { return static_cast<float*>(m.data) + r * m.stride; }

// 1 / rms of a row over all heads, or 1 if there is no norm.
inline double InverseRms(const float* x, int64_t n, float eps, const float* weight) {
  if (weight == nullptr) return 1.0;
  double squares = 0;
  for (int64_t i = 0; i < n; ++i) squares += double{x[i]} * x[i];
  return 1.0 / std::sqrt(squares / static_cast<double>(n) + eps);
}

// Applies the epilogue to acc and stores the result in y[row][col].
inline void Store(const Epilogue& e, double acc, int64_t row, int64_t col, const Mat& y) {
  const double value = Activated<double>(e.activation, acc);
  float& out = Row(y, row)[col];
  if (!e.residual) {
    out = static_cast<float>(value);
  } else {
    const double gate = e.gate == nullptr ? 1.0 : e.gate[e.mod_row[row] * e.gate_stride + col];
    out = static_cast<float>(out + gate * value);
  }
}

}  // namespace longtake::reference

#endif  // LONGTAKE_ENGINE_REFERENCE_KERNEL_H_
