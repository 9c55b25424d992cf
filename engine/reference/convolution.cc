#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "engine/reference/families.h"
#include "engine/reference/kernel.h"
#include "engine/reference/low_rank.h"

namespace longtake::reference {
namespace {

// The row or column of the input that stands at `at`, which may lie one outside.
int Reflected(int at, int size) { return std::clamp(at < 0 ? -at : at >= size ? 2 * size - 2 - at : at, 0, size - 1); }

// Computes output `o` at pixel (y, x) of frame `f`, without the residual.
double ConvAt(const ConvArgs& a, size_t f, int y, int x, int64_t o) {
  const Kernel& kernel = AsKernel(a.kernel);
  const KernelShape& shape = kernel.shape();
  double acc = kernel.bias(o);
  for (int tap = 0; tap < shape.taps(); ++tap) {
    const int dt = tap / (shape.kh * shape.kw), dy = tap / shape.kw % shape.kh, dx = tap % shape.kw;
    const ConstMat& frame = a.in[f * shape.kt + dt];
    int sy = y * a.stride + dy - a.pad_top, sx = x * a.stride + dx - a.pad_left;
    if (a.border == Border::kReflect) {
      sy = Reflected(sy, a.in_height);
      sx = Reflected(sx, a.in_width);
    }
    if (frame.data == nullptr || sy < 0 || sx < 0 || sy >= a.in_height * a.upsample || sx >= a.in_width * a.upsample) {
      continue;
    }
    const float* in = Row(frame, int64_t{sy / a.upsample} * a.in_width + sx / a.upsample);
    const float* weight = kernel.tap(o, tap);
    for (int64_t i = 0; i < shape.inputs; ++i) acc += double{weight[i]} * in[i];
  }
  return acc;
}

// Computes channel `channel` of the depthwise convolution at token `n` of segment `s`.
double DepthwiseAt(const DepthwiseGluArgs& a, const Segment& s, int64_t n, int64_t channel) {
  const Kernel& kernel = AsKernel(a.kernel);
  const int row = static_cast<int>(n / s.width % s.height), column = static_cast<int>(n % s.width);
  double acc = kernel.bias(channel);
  for (int dy = -1; dy <= 1; ++dy) {
    for (int dx = -1; dx <= 1; ++dx) {
      if (row + dy < 0 || row + dy >= s.height || column + dx < 0 || column + dx >= s.width) continue;
      const double x = Row(a.x, s.first_row + n + dy * s.width + dx)[channel];
      acc += double{kernel.row(channel)[(dy + 1) * 3 + dx + 1]} * Activated(a.activation, x);
    }
  }
  return acc;
}

class Convolution final : public ConvolutionOps {
 public:
  using ConvolutionOps::ConvolutionOps;
  bool adds_low_rank() const override { return true; }

 private:
  void DoConv(const ConvArgs& a) override {
    for (size_t f = 0; f < a.out.size(); ++f) {
      for (int y = 0; y < a.out_height; ++y) {
        for (int x = 0; x < a.out_width; ++x) {
          const int64_t pixel = int64_t{y} * a.out_width + x;
          for (int64_t o = 0; o < a.out[f].cols; ++o) {
            double acc = ConvAt(a, f, y, x, o);
            if (!a.residual.empty()) acc += Row(a.residual[f], pixel)[o];
            Row(a.out[f], pixel)[o] = static_cast<float>(Activated(a.activation, acc));
          }
        }
      }
    }
  }

  void DoDepthwiseGlu(const DepthwiseGluArgs& a) override {
    for (const Segment& s : a.segments) {
      for (int64_t n = 0; n < s.rows(); ++n) {
        for (int64_t c = 0; c < a.y.cols; ++c) {
          const double gate = DepthwiseAt(a, s, n, a.y.cols + c);
          Row(a.y, s.first_row + n)[c] =
              static_cast<float>(DepthwiseAt(a, s, n, c) * Activated<double>(Activation::kSilu, gate));
        }
      }
    }
  }

  void DoTemporalConv(const TemporalConvArgs& a) override {
    const Kernel& kernel = AsKernel(a.kernel);
    for (size_t k = 0; k < a.segments.size(); ++k) {
      const Segment& s = a.segments[k];
      const ConstMat& tail = a.tails[k];
      const int64_t frame_rows = int64_t{s.height} * s.width;
      for (int64_t n = 0; n < s.rows(); ++n) {
        const float* before = n >= frame_rows        ? Row(a.x, s.first_row + n - frame_rows)
                              : tail.data != nullptr ? Row(tail, n)
                                                     : nullptr;
        const float* own = Row(a.x, s.first_row + n);
        const float* after = n + frame_rows < s.rows() ? Row(a.x, s.first_row + n + frame_rows) : nullptr;
        const float* inputs[3] = {before, own, after};
        const RowTerms terms(a.low_rank, s.first_row + n, [&](int tap) { return inputs[tap]; });
        for (int64_t o = 0; o < a.out.cols; ++o) {
          double acc = own[o] + double{kernel.bias(o)} + terms.at(o);
          for (int tap = 0; tap < 3; ++tap) {
            if (inputs[tap] == nullptr) continue;
            const float* weight = kernel.tap(o, tap);
            for (int64_t i = 0; i < a.x.cols; ++i) acc += double{weight[i]} * inputs[tap][i];
          }
          Store(a.epilogue, acc, s.first_row + n, o, a.out);
        }
      }
    }
  }
};

}  // namespace

std::unique_ptr<ConvolutionOps> MakeConvolutionOps(FamilyContext* context) {
  return std::make_unique<Convolution>(context);
}

}  // namespace longtake::reference
