// Depthwise 3x3 with bias and zero padding, then a * SiLU(g) of the two halves of the channels.
#include "engine/cpu/kernels/functions.h"
#include "engine/cpu/kernels/parts.h"

namespace longtake::cpu::LONGTAKE_ISA {
namespace {

// The rows above, at and below the output's: null outside the frame.
template <typename T>
struct Lines {
  const T* line[3];
};

// bias + sum over the taps inside the frame, dy outer, dx inner, at pixel x of channels [c, c + n).
template <typename T>
LT_INLINE V Convolve(const DepthwiseBlock& g, const Lines<T>& in, int x, int64_t c, const V (&w)[9], V bias, int n) {
  V acc = bias;
  for (int dy = 0; dy < 3; ++dy) {
    if (in.line[dy] == nullptr) continue;
    for (int dx = 0; dx < 3; ++dx) {
      const int at = x + dx - 1;
      if (at < 0 || at >= g.width) continue;
      acc = Fma(LoadUpTo(in.line[dy] + at * g.x_stride + c, n), w[dy * 3 + dx], acc);
    }
  }
  return acc;
}

template <typename T>
void Line(const DepthwiseBlock& g) {
  Lines<T> in;
  for (int dy = 0; dy < 3; ++dy) {
    const int row = g.row + dy - 1;
    in.line[dy] = row < 0 || row >= g.height
                      ? nullptr
                      : static_cast<const T*>(g.x) + int64_t{row} * g.width * g.x_stride;
  }
  T* out = static_cast<T*>(g.y) + int64_t{g.row} * g.width * g.y_stride;
  ForVectors(g.count, [&](int64_t i, int n) {
    const int64_t a = g.first + i, gate = g.half + a;
    V wa[9], wg[9];
    for (int t = 0; t < 9; ++t) {
      wa[t] = LoadUpTo(g.weight + t * 2 * g.half + a, n);
      wg[t] = LoadUpTo(g.weight + t * 2 * g.half + gate, n);
    }
    const V bias_a = LoadUpTo(g.bias + a, n), bias_g = LoadUpTo(g.bias + gate, n);
    for (int x = 0; x < g.width; ++x) {
      const V left = Convolve(g, in, x, a, wa, bias_a, n);
      const V right = Convolve(g, in, x, gate, wg, bias_g, n);
      StoreUpTo(out + x * g.y_stride + a, left * Silu(right), n);
    }
  });
}

void DepthwiseGlu(const DepthwiseBlock& g) {
  if (g.type == Elem::kF32) {
    Line<float>(g);
  } else {
    Line<bf16>(g);
  }
}

}  // namespace

void FillDepthwise(KernelTable* table) { table->depthwise_glu = DepthwiseGlu; }

}  // namespace longtake::cpu::LONGTAKE_ISA
