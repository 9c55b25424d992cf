// Depthwise 3x3 convolution with bias and zero padding, then a * SiLU(g) of the two halves of the channels.
//
// The outer loop runs over pixels, the inner one over channels. A pixel's channels are contiguous. The same channel of
// the next pixel is 26 KiB away (13 440 channels of bf16), so a line of 52 pixels would compete for 16 of the L1
// cache's 64 sets. Four pixels at a time share the nine weights: 27 loads for 4 results instead of 72.
#include "engine/cpu/kernels/fill.h"
#include "engine/cpu/kernels/vector_math.h"

namespace longtake::cpu::LONGTAKE_ISA {
namespace {

constexpr int kPixels = 4;

// The pixels that kCount adjacent results read: [dy][column], null outside the frame.
template <typename T, int kCount>
struct Window {
  const T* pixel[3][kCount + 2];
};

// acc[i] = bias + sum over the taps (outer loop dy, inner loop dx), for channels [c, c + n). Taps outside the frame
// read zeros. With kSilu the elements are SiLU(x).
template <bool kSilu, typename T, int kCount>
LT_INLINE void Convolve(const Window<T, kCount>& in, int64_t c, int64_t channels, const float* weight,
                        const float* bias, int n, V (&acc)[kCount]) {
  const V b = LoadUpTo(bias + c, n);
  for (int i = 0; i < kCount; ++i) acc[i] = b;
  for (int dy = 0; dy < 3; ++dy) {
    V x[kCount + 2];
    for (int i = 0; i < kCount + 2; ++i) {
      x[i] = in.pixel[dy][i] == nullptr ? Zero() : LoadUpTo(in.pixel[dy][i] + c, n);
      if constexpr (kSilu) x[i] = Silu(x[i]);
    }
    for (int dx = 0; dx < 3; ++dx) {
      const V w = LoadUpTo(weight + (dy * 3 + dx) * channels + c, n);
      for (int i = 0; i < kCount; ++i) acc[i] = Fma(x[i + dx], w, acc[i]);
    }
  }
}

template <bool kSilu, typename T, int kCount>
void Pixels(const DepthwiseBlock& g, int first) {
  Window<T, kCount> in;
  for (int dy = 0; dy < 3; ++dy) {
    const int row = g.row + dy - 1;
    for (int i = 0; i < kCount + 2; ++i) {
      const int column = first + i - 1;
      const bool inside = row >= 0 && row < g.height && column >= 0 && column < g.width;
      in.pixel[dy][i] =
          inside ? static_cast<const T*>(g.x.data) + (int64_t{row} * g.width + column) * g.x.stride : nullptr;
    }
  }
  T* out = static_cast<T*>(g.y.data) + (int64_t{g.row} * g.width + first) * g.y.stride;
  ForVectors(g.count, [&](int64_t i, int n) {
    const int64_t c = g.first + i;
    V left[kCount], right[kCount];
    Convolve<kSilu>(in, c, 2 * g.half, g.weight, g.bias, n, left);
    Convolve<kSilu>(in, g.half + c, 2 * g.half, g.weight, g.bias, n, right);
    for (int p = 0; p < kCount; ++p) StoreUpTo(out + p * g.y.stride + c, left[p] * Silu(right[p]), n);
  });
}

template <bool kSilu, typename T>
void Line(const DepthwiseBlock& g) {
  int x = 0;
  for (; x + kPixels <= g.width; x += kPixels) Pixels<kSilu, T, kPixels>(g, x);
  for (; x < g.width; ++x) Pixels<kSilu, T, 1>(g, x);
}

template <bool kSilu>
void LineOfType(const DepthwiseBlock& g) {
  if (g.x.dtype == DType::kF32) {
    Line<kSilu, float>(g);
  } else {
    Line<kSilu, bf16>(g);
  }
}

void DepthwiseGlu(const DepthwiseBlock& g) {
  if (g.silu) {
    LineOfType<true>(g);
  } else {
    LineOfType<false>(g);
  }
}

}  // namespace

void FillDepthwise(KernelTable* table) { table->depthwise_glu = DepthwiseGlu; }

}  // namespace longtake::cpu::LONGTAKE_ISA
