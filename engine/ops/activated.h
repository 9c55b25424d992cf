// Scalar activation functions, computed by their formulas.
#ifndef LONGTAKE_ENGINE_OPS_ACTIVATED_H_
#define LONGTAKE_ENGINE_OPS_ACTIVATED_H_

#include <cmath>

#include "engine/ops/activation.h"

namespace longtake {

// Computed in T; the reference uses double.
template <typename T>
T Activated(Activation a, T x) {
  constexpr T kRoot = static_cast<T>(0.7978845608028653558798921198687637);  // sqrt(2 / pi)
  switch (a) {
    case Activation::kNone:
      return x;
    case Activation::kSilu:
      return x / (T{1} + std::exp(-x));
    case Activation::kGeluTanh:
      return T{0.5} * x * (T{1} + std::tanh(kRoot * (x + static_cast<T>(0.044715) * x * x * x)));
    case Activation::kSigmoid:
      return T{1} / (T{1} + std::exp(-x));
    case Activation::kRelu:
      return x < T{0} ? T{0} : x;
    case Activation::kSoftClamp:
      return T{3} * std::tanh(x / T{3});
  }
  return x;
}

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_OPS_ACTIVATED_H_
