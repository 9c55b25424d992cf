// Operations on rows or elements: norms, activations, sums. A row is summed over its own columns only, first in vectors
// and then across a vector, so its result does not depend on other rows.
#include "engine/cpu/kernels/fill.h"
#include "engine/cpu/kernels/vector_math.h"

namespace longtake::cpu::LONGTAKE_ISA {
namespace {

template <typename P>
struct Pointee;
template <typename T>
struct Pointee<T*> {
  using Type = T;
};

template <typename T>
LT_INLINE T* At(const void* data, int64_t elements) {
  return const_cast<T*>(static_cast<const T*>(data)) + elements;
}

// Four running sums hide the addition's latency of 3 to 4 cycles.
template <typename T, typename F>
LT_INLINE float SumOver(const T* x, int64_t n, F&& f) {
  V sum[4] = {Zero(), Zero(), Zero(), Zero()};
  int64_t i = 0;
  for (; i + 4 * kLanes <= n; i += 4 * kLanes) {
    for (int j = 0; j < 4; ++j) sum[j] = f(Load(x + i + j * kLanes), sum[j]);
  }
  for (; i + kLanes <= n; i += kLanes) sum[0] = f(Load(x + i), sum[0]);
  float rest = 0;
  for (; i < n; ++i) {
    alignas(64) float one[kLanes] = {};
    Store(one, f(Set(ToFloat(x[i])), Zero()));
    rest += one[0];
  }
  return Sum((sum[0] + sum[1]) + (sum[2] + sum[3])) + rest;
}

template <typename T>
LT_INLINE float SumOfSquares(const T* x, int64_t n) {
  return SumOver(x, n, [](V a, V sum) { return Fma(a, a, sum); });
}

float InverseRoot(float x) { return 1.f / __builtin_sqrtf(x); }

template <typename X, typename Y>
void LayerNormRows(const NormRows& a) {
  const float inverse_n = 1.f / static_cast<float>(a.x.cols);
  for (int64_t r = 0; r < a.x.rows; ++r) {
    const X* x = At<const X>(a.x.data, r * a.x.stride);
    Y* y = At<Y>(a.y.data, r * a.y.stride);
    const float mean = SumOver(x, a.x.cols, [](V v, V sum) { return sum + v; }) * inverse_n;
    const V m = Set(mean);
    const float squares = SumOver(x, a.x.cols, [m](V v, V sum) { return Fma(v - m, v - m, sum); });
    const V inverse = Set(InverseRoot(squares * inverse_n + a.eps));
    const int64_t mod = a.shift == nullptr ? 0 : a.mod_row[r] * a.mod_stride;
    ForVectors(a.x.cols, [&](int64_t i, int n) {
      V v = (LoadUpTo(x + i, n) - m) * inverse;
      if (a.shift != nullptr) {
        v = Fma(v, Set(1.f) + LoadUpTo(a.scale + mod + i, n), LoadUpTo(a.shift + mod + i, n));
      }
      StoreUpTo(y + i, v, n);
    });
  }
}

template <typename X, typename Y>
void RmsNormRows(const NormRows& a) {
  const float inverse_n = 1.f / static_cast<float>(a.x.cols);
  const V offset = Set(a.weight_offset);
  for (int64_t r = 0; r < a.x.rows; ++r) {
    const X* x = At<const X>(a.x.data, r * a.x.stride);
    Y* y = At<Y>(a.y.data, r * a.y.stride);
    const V inverse = Set(InverseRoot(SumOfSquares(x, a.x.cols) * inverse_n + a.eps));
    ForVectors(a.x.cols, [&](int64_t i, int n) {
      V v = LoadUpTo(x + i, n) * inverse * (LoadUpTo(a.weight + i, n) + offset);
      if (a.residual) v = v + LoadUpTo(y + i, n);
      StoreUpTo(y + i, v, n);
    });
  }
}

template <typename X, typename Y>
void ChannelNormRows(const NormRows& a) {
  const float root = __builtin_sqrtf(static_cast<float>(a.x.cols));
  for (int64_t r = 0; r < a.x.rows; ++r) {
    const X* x = At<const X>(a.x.data, r * a.x.stride);
    Y* y = At<Y>(a.y.data, r * a.y.stride);
    const float norm = __builtin_sqrtf(SumOfSquares(x, a.x.cols) + static_cast<float>(a.x.cols) * a.eps);
    const V inverse = Set(root / (norm < 1e-12f ? 1e-12f : norm));
    ForVectors(a.x.cols, [&](int64_t i, int n) {
      V v = LoadUpTo(x + i, n) * inverse;
      if (a.weight != nullptr) v = v * LoadUpTo(a.weight + i, n);
      StoreUpTo(y + i, a.silu ? Silu(v) : v, n);
    });
  }
}

void LayerNorm(const NormRows& a) {
  WithType(a.x.dtype, [&](auto* x) {
    WithType(a.y.dtype, [&](auto* y) {
      LayerNormRows<typename Pointee<decltype(x)>::Type, typename Pointee<decltype(y)>::Type>(a);
    });
  });
}

void RmsNorm(const NormRows& a) {
  WithType(a.x.dtype, [&](auto* x) {
    WithType(a.y.dtype, [&](auto* y) {
      RmsNormRows<typename Pointee<decltype(x)>::Type, typename Pointee<decltype(y)>::Type>(a);
    });
  });
}

void ChannelNorm(const NormRows& a) {
  WithType(a.x.dtype, [&](auto* x) {
    WithType(a.y.dtype, [&](auto* y) {
      ChannelNormRows<typename Pointee<decltype(x)>::Type, typename Pointee<decltype(y)>::Type>(a);
    });
  });
}

void InverseRms(ConstMat x, float eps, float* out) {
  const float inverse_n = 1.f / static_cast<float>(x.cols);
  WithType(x.dtype, [&](auto* type) {
    using X = typename Pointee<decltype(type)>::Type;
    for (int64_t r = 0; r < x.rows; ++r) {
      out[r] = InverseRoot(SumOfSquares(At<const X>(x.data, r * x.stride), x.cols) * inverse_n + eps);
    }
  });
}

// y = f(x, row, column, count) for every vector.
template <typename F>
LT_INLINE void Map(ConstMat x, Mat y, F&& f) {
  WithType(x.dtype, [&](auto* xt) {
    WithType(y.dtype, [&](auto* yt) {
      using X = typename Pointee<decltype(xt)>::Type;
      using Y = typename Pointee<decltype(yt)>::Type;
      for (int64_t r = 0; r < x.rows; ++r) {
        const X* from = At<const X>(x.data, r * x.stride);
        Y* to = At<Y>(y.data, r * y.stride);
        ForVectors(x.cols, [&](int64_t i, int n) { StoreUpTo(to + i, f(from, r, i, n), n); });
      }
    });
  });
}

void Activate(ConstMat x, Activation a, Mat y) {
  Map(x, y, [a](auto* from, int64_t, int64_t i, int n) { return Apply(a, LoadUpTo(from + i, n)); });
}

void AddRow(ConstMat x, const float* row, Mat y) {
  Map(x, y, [row](auto* from, int64_t, int64_t i, int n) { return LoadUpTo(from + i, n) + LoadUpTo(row + i, n); });
}

void ScaleRows(ConstMat x, const float* inverse, const float* weight, Mat y) {
  Map(x, y, [inverse, weight](auto* from, int64_t r, int64_t i, int n) {
    return LoadUpTo(from + i, n) * Set(inverse[r]) * LoadUpTo(weight + i, n);
  });
}

void RotateHalves(ConstMat x, const float* cosines, const float* sines, Mat y) {
  const int64_t half = x.cols / 2;
  WithType(x.dtype, [&](auto* xt) {
    WithType(y.dtype, [&](auto* yt) {
      using X = typename Pointee<decltype(xt)>::Type;
      using Y = typename Pointee<decltype(yt)>::Type;
      for (int64_t r = 0; r < x.rows; ++r) {
        const X* from = At<const X>(x.data, r * x.stride);
        Y* to = At<Y>(y.data, r * y.stride);
        ForVectors(half, [&](int64_t i, int n) {
          const V a = LoadUpTo(from + i, n), b = LoadUpTo(from + half + i, n);
          const V c = LoadUpTo(cosines + r * half + i, n), s = LoadUpTo(sines + r * half + i, n);
          StoreUpTo(to + i, Fma(a, c, -(b * s)), n);
          StoreUpTo(to + half + i, Fma(b, c, a * s), n);
        });
      }
    });
  });
}

void Combine(const float* weights, const float* const* x, int terms, int64_t n, float* out) {
  ForVectors(n, [&](int64_t i, int count) {
    V sum = LoadUpTo(x[0] + i, count) * Set(weights[0]);
    for (int t = 1; t < terms; ++t) sum = Fma(LoadUpTo(x[t] + i, count), Set(weights[t]), sum);
    StoreUpTo(out + i, sum, count);
  });
}

}  // namespace

void FillRows(KernelTable* table) {
  table->layer_norm = LayerNorm;
  table->rms_norm = RmsNorm;
  table->channel_norm = ChannelNorm;
  table->inverse_rms = InverseRms;
  table->scale_rows = ScaleRows;
  table->activate = Activate;
  table->add_row = AddRow;
  table->rotate_halves = RotateHalves;
  table->combine = Combine;
}

}  // namespace longtake::cpu::LONGTAKE_ISA
