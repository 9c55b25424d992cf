// Operations on one row or one element: norms, activations, sums. Each row is summed over its own columns alone, in
// vectors and then across a vector, so its result depends on nothing else.
#include "engine/cpu/kernels/functions.h"
#include "engine/cpu/kernels/parts.h"

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
void LayerNormRows(const NormArgs& a) {
  const float inverse_n = 1.f / static_cast<float>(a.columns);
  for (int64_t r = 0; r < a.rows; ++r) {
    const X* x = At<const X>(a.x.data, r * a.x.stride);
    Y* y = At<Y>(a.y.data, r * a.y.stride);
    const float mean = SumOver(x, a.columns, [](V v, V sum) { return sum + v; }) * inverse_n;
    const V m = Set(mean);
    const float squares = SumOver(x, a.columns, [m](V v, V sum) { return Fma(v - m, v - m, sum); });
    const V inverse = Set(InverseRoot(squares * inverse_n + a.eps));
    const int64_t mod = a.shift == nullptr ? 0 : a.mod_row[r] * a.mod_stride;
    ForVectors(a.columns, [&](int64_t i, int n) {
      V v = (LoadUpTo(x + i, n) - m) * inverse;
      if (a.shift != nullptr) {
        v = Fma(v, Set(1.f) + LoadUpTo(a.scale + mod + i, n), LoadUpTo(a.shift + mod + i, n));
      }
      StoreUpTo(y + i, v, n);
    });
  }
}

template <typename X, typename Y>
void RmsNormRows(const NormArgs& a) {
  const float inverse_n = 1.f / static_cast<float>(a.columns);
  const V offset = Set(a.weight_offset);
  for (int64_t r = 0; r < a.rows; ++r) {
    const X* x = At<const X>(a.x.data, r * a.x.stride);
    Y* y = At<Y>(a.y.data, r * a.y.stride);
    const V inverse = Set(InverseRoot(SumOfSquares(x, a.columns) * inverse_n + a.eps));
    ForVectors(a.columns, [&](int64_t i, int n) {
      V v = LoadUpTo(x + i, n) * inverse * (LoadUpTo(a.weight + i, n) + offset);
      if (a.residual) v = v + LoadUpTo(y + i, n);
      StoreUpTo(y + i, v, n);
    });
  }
}

template <typename X, typename Y>
void ChannelNormRows(const NormArgs& a) {
  const float root = __builtin_sqrtf(static_cast<float>(a.columns));
  for (int64_t r = 0; r < a.rows; ++r) {
    const X* x = At<const X>(a.x.data, r * a.x.stride);
    Y* y = At<Y>(a.y.data, r * a.y.stride);
    const float norm = __builtin_sqrtf(SumOfSquares(x, a.columns));
    const V inverse = Set(root / (norm > 1e-12f ? norm : 1e-12f));
    ForVectors(a.columns, [&](int64_t i, int n) {
      const V v = LoadUpTo(x + i, n) * inverse * LoadUpTo(a.weight + i, n);
      StoreUpTo(y + i, a.silu ? Silu(v) : v, n);
    });
  }
}

void LayerNorm(const NormArgs& a) {
  WithType(a.x.type, [&](auto* x) {
    WithType(a.y.type, [&](auto* y) {
      LayerNormRows<typename Pointee<decltype(x)>::Type, typename Pointee<decltype(y)>::Type>(a);
    });
  });
}

void RmsNorm(const NormArgs& a) {
  WithType(a.x.type, [&](auto* x) {
    WithType(a.y.type, [&](auto* y) {
      RmsNormRows<typename Pointee<decltype(x)>::Type, typename Pointee<decltype(y)>::Type>(a);
    });
  });
}

void ChannelNorm(const NormArgs& a) {
  WithType(a.x.type, [&](auto* x) {
    WithType(a.y.type, [&](auto* y) {
      ChannelNormRows<typename Pointee<decltype(x)>::Type, typename Pointee<decltype(y)>::Type>(a);
    });
  });
}

void InverseRms(Rows x, int64_t rows, int64_t columns, float eps, float* out) {
  const float inverse_n = 1.f / static_cast<float>(columns);
  WithType(x.type, [&](auto* type) {
    using X = typename Pointee<decltype(type)>::Type;
    for (int64_t r = 0; r < rows; ++r) {
      out[r] = InverseRoot(SumOfSquares(At<const X>(x.data, r * x.stride), columns) * inverse_n + eps);
    }
  });
}

// y = f(x, row, column) for every vector.
template <typename F>
LT_INLINE void Map(Rows x, int64_t rows, int64_t columns, MutRows y, F&& f) {
  WithType(x.type, [&](auto* xt) {
    WithType(y.type, [&](auto* yt) {
      using X = typename Pointee<decltype(xt)>::Type;
      using Y = typename Pointee<decltype(yt)>::Type;
      for (int64_t r = 0; r < rows; ++r) {
        const X* from = At<const X>(x.data, r * x.stride);
        Y* to = At<Y>(y.data, r * y.stride);
        ForVectors(columns, [&](int64_t i, int n) { StoreUpTo(to + i, f(from, r, i, n), n); });
      }
    });
  });
}

void Activate(Rows x, int64_t rows, int64_t columns, Act a, MutRows y) {
  Map(x, rows, columns, y, [a](auto* from, int64_t, int64_t i, int n) { return Apply(a, LoadUpTo(from + i, n)); });
}

void AddRow(Rows x, int64_t rows, int64_t columns, const float* row, MutRows y) {
  Map(x, rows, columns, y,
      [row](auto* from, int64_t, int64_t i, int n) { return LoadUpTo(from + i, n) + LoadUpTo(row + i, n); });
}

void ScaleRows(Rows x, int64_t rows, int64_t columns, const float* inverse, const float* weight, MutRows y) {
  Map(x, rows, columns, y, [inverse, weight](auto* from, int64_t r, int64_t i, int n) {
    return LoadUpTo(from + i, n) * Set(inverse[r]) * LoadUpTo(weight + i, n);
  });
}

template <typename X, typename Y>
void RotateHalvesAs(const X* x, int half, const float* cos, const float* sin, Y* y) {
  ForVectors(half, [&](int64_t i, int n) {
    const V a = LoadUpTo(x + i, n), b = LoadUpTo(x + half + i, n);
    const V c = LoadUpTo(cos + i, n), s = LoadUpTo(sin + i, n);
    StoreUpTo(y + i, Fma(a, c, -(b * s)), n);
    StoreUpTo(y + half + i, Fma(b, c, a * s), n);
  });
}

void RotateHalves(const void* x, Elem x_type, int half, const float* cos, const float* sin, void* y, Elem y_type) {
  WithType(x_type, [&](auto* from) {
    WithType(y_type, [&](auto* to) {
      RotateHalvesAs(static_cast<decltype(from)>(const_cast<void*>(x)), half, cos, sin, static_cast<decltype(to)>(y));
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
