#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>

#include "engine/reference/families.h"
#include "engine/reference/kernel.h"

namespace longtake::reference {
namespace {

double SumOfSquares(const float* x, int64_t n) {
  double squares = 0;
  for (int64_t i = 0; i < n; ++i) squares += double{x[i]} * x[i];
  return squares;
}

class Norm final : public NormOps {
 public:
  using NormOps::NormOps;

 private:
  void DoLayerNorm(const LayerNormArgs& a) override {
    for (int64_t n = 0; n < a.x.rows; ++n) {
      const float* in = Row(a.x, n);
      double sum = 0, squares = 0;
      for (int64_t i = 0; i < a.x.cols; ++i) sum += in[i];
      const double mean = sum / static_cast<double>(a.x.cols);
      for (int64_t i = 0; i < a.x.cols; ++i) squares += (in[i] - mean) * (in[i] - mean);
      const double inverse = 1.0 / std::sqrt(squares / static_cast<double>(a.x.cols) + a.eps);
      for (int64_t i = 0; i < a.x.cols; ++i) {
        double value = (in[i] - mean) * inverse;
        if (a.shift != nullptr) {
          const int64_t at = a.mod_row[n] * a.mod_stride + i;
          value = value * (1.0 + a.scale[at]) + a.shift[at];
        }
        Row(a.y, n)[i] = static_cast<float>(value);
      }
    }
  }

  void DoRmsNorm(const RmsNormArgs& a) override {
    for (int64_t n = 0; n < a.x.rows; ++n) {
      const float* in = Row(a.x, n);
      const double squares = SumOfSquares(in, a.x.cols);
      const double inverse = 1.0 / std::sqrt(squares / static_cast<double>(a.x.cols) + a.eps);
      for (int64_t i = 0; i < a.x.cols; ++i) {
        const double value = in[i] * inverse * (double{a.weight[i]} + a.weight_offset);
        float& out = Row(a.y, n)[i];
        out = static_cast<float>(a.residual ? out + value : value);
      }
    }
  }

  void DoChannelNorm(const ChannelNormArgs& a) override {
    const double root = std::sqrt(static_cast<double>(a.x.cols));
    for (int64_t n = 0; n < a.x.rows; ++n) {
      const float* in = Row(a.x, n);
      const double squares = SumOfSquares(in, a.x.cols) + static_cast<double>(a.x.cols) * a.eps;
      const double inverse = root / std::max(std::sqrt(squares), 1e-12);
      for (int64_t i = 0; i < a.x.cols; ++i) {
        const double value = in[i] * inverse * (a.gamma == nullptr ? 1.f : a.gamma[i]);
        Row(a.y, n)[i] = static_cast<float>(a.silu ? Activated<double>(Activation::kSilu, value) : value);
      }
    }
  }
};

}  // namespace

std::unique_ptr<NormOps> MakeNormOps(FamilyContext* context) { return std::make_unique<Norm>(context); }

}  // namespace longtake::reference
