// Elementary functions on vectors. Included only by kernels/*.cc.
#ifndef LONGTAKE_ENGINE_CPU_KERNELS_VECTOR_MATH_H_
#define LONGTAKE_ENGINE_CPU_KERNELS_VECTOR_MATH_H_

#include "engine/cpu/kernels/simd.h"

namespace longtake::cpu::LONGTAKE_ISA {
namespace {

// e^x, with x = n ln2 + r, |r| <= ln2/2, and Moshier's polynomial of degree 6 for e^r (Cephes, expf). The relative
// error is below 1.2e-7 on [-87.3, 88.3]. Returns 0 below that range, e^88.3 above it, and NaN for NaN.
LT_INLINE V Exp(V x) {
  const V low = Set(-87.3f);
  const V bounded = Min(Set(88.3f), Max(low, x));
  const V n = Round(bounded * Set(1.44269504088896341f));
  V r = Fma(n, Set(-0.693359375f), bounded);
  r = Fma(n, Set(2.12194440e-4f), r);
  V p = Set(1.9875691500e-4f);
  p = Fma(p, r, Set(1.3981999507e-3f));
  p = Fma(p, r, Set(8.3334519073e-3f));
  p = Fma(p, r, Set(4.1665795894e-2f));
  p = Fma(p, r, Set(1.6666665459e-1f));
  p = Fma(p, r, Set(5.0000001201e-1f));
  p = Fma(p, r * r, r) + Set(1.f);
  return Select(x, low, Zero(), Scale2(p, n));
}

LT_INLINE V Silu(V x) { return x / (Set(1.f) + Exp(-x)); }

LT_INLINE V Sigmoid(V x) { return Set(1.f) / (Set(1.f) + Exp(-x)); }

// x (1 + tanh(u)) / 2 = x / (1 + e^(-2u)) with u = sqrt(2/pi) (x + 0.044715 x^3), which has no cancellation for small
// x.
LT_INLINE V GeluTanh(V x) {
  const V cubic = Fma(x * x * x, Set(0.044715f), x);
  return x / (Set(1.f) + Exp(cubic * Set(-1.5957691216057308f)));
}

// Cephes, tanhf: an odd polynomial for |x| < 0.625, else 1 - 2 / (e^2x + 1). The relative error is 1.3e-7.
LT_INLINE V Tanh(V x) {
  const V a = Abs(x);
  const V square = x * x;
  V p = Set(-5.70498872745e-3f);
  p = Fma(p, square, Set(2.06390887954e-2f));
  p = Fma(p, square, Set(-5.37397155531e-2f));
  p = Fma(p, square, Set(1.33314422036e-1f));
  p = Fma(p, square, Set(-3.33332819422e-1f));
  const V small = Fma(p * square, x, x);
  const V large = Set(1.f) - Set(2.f) / (Exp(a + a) + Set(1.f));
  return Select(a, Set(0.625f), small, Select(x, Zero(), -large, large));
}

LT_INLINE V Apply(Activation a, V x) {
  switch (a) {
    case Activation::kNone:
      return x;
    case Activation::kSilu:
      return Silu(x);
    case Activation::kGeluTanh:
      return GeluTanh(x);
    case Activation::kSigmoid:
      return Sigmoid(x);
    case Activation::kRelu:
      return Max(Zero(), x);  // NaN for NaN
    case Activation::kSoftClamp:
      return Set(3.f) * Tanh(x / Set(3.f));
  }
  return x;
}

}  // namespace
}  // namespace longtake::cpu::LONGTAKE_ISA

#endif  // LONGTAKE_ENGINE_CPU_KERNELS_VECTOR_MATH_H_
