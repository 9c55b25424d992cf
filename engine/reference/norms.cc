// Norms, activations, embeddings and other operations on one element or one row.
#include <cmath>

#include "engine/core/float16.h"
#include "engine/core/philox.h"
#include "engine/reference/reference_impl.h"

namespace longtake::reference {

void ReferenceOps::LayerNormModulate(ConstMat x, float eps, const float* shift, const float* scale, int64_t mod_stride,
                                     std::span<const int32_t> mod_row, Mat y) {
  for (int64_t n = 0; n < x.rows; ++n) {
    const float* in = Row(x, n);
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < x.cols; ++i) sum += in[i];
    const double mean = sum / static_cast<double>(x.cols);
    for (int64_t i = 0; i < x.cols; ++i) squares += (in[i] - mean) * (in[i] - mean);
    const double inverse = 1.0 / std::sqrt(squares / static_cast<double>(x.cols) + eps);
    for (int64_t i = 0; i < x.cols; ++i) {
      double value = (in[i] - mean) * inverse;
      if (shift != nullptr) {
        const int64_t at = mod_row[n] * mod_stride + i;
        value = value * (1.0 + scale[at]) + shift[at];
      }
      Row(y, n)[i] = static_cast<float>(value);
    }
  }
}

void ReferenceOps::RmsNorm(ConstMat x, const float* weight, float weight_offset, float eps, bool residual, Mat y) {
  for (int64_t n = 0; n < x.rows; ++n) {
    const float* in = Row(x, n);
    double squares = 0;
    for (int64_t i = 0; i < x.cols; ++i) squares += double{in[i]} * in[i];
    const double inverse = 1.0 / std::sqrt(squares / static_cast<double>(x.cols) + eps);
    for (int64_t i = 0; i < x.cols; ++i) {
      const double value = in[i] * inverse * (double{weight[i]} + weight_offset);
      float& out = Row(y, n)[i];
      out = static_cast<float>(residual ? out + value : value);
    }
  }
}

void ReferenceOps::Activate(ConstMat x, Activation a, Mat y) {
  for (int64_t n = 0; n < x.rows; ++n) {
    for (int64_t i = 0; i < x.cols; ++i) Row(y, n)[i] = static_cast<float>(Activated<double>(a, Row(x, n)[i]));
  }
}

void ReferenceOps::AddRow(ConstMat x, const float* row, Mat y) {
  for (int64_t n = 0; n < x.rows; ++n) {
    for (int64_t i = 0; i < x.cols; ++i) Row(y, n)[i] = Row(x, n)[i] + row[i];
  }
}

void ReferenceOps::TimestepSinusoids(std::span<const float> t, Mat y) {
  const int64_t half = y.cols / 2;
  for (int64_t r = 0; r < y.rows; ++r) {
    for (int64_t i = 0; i < half; ++i) {
      // The frequency and the angle are rounded to float32 as the reference rounds them: at t = 1000 the angle's own
      // rounding (6e-5) is what a comparison would otherwise see.
      const float exponent = -std::log(10000.f) * static_cast<float>(i) / static_cast<float>(half);
      const float frequency = std::exp(exponent);
      const float angle = t[r] * frequency;
      Row(y, r)[i] = static_cast<float>(std::cos(double{angle}));
      Row(y, r)[half + i] = static_cast<float>(std::sin(double{angle}));
    }
  }
}

std::unique_ptr<Buffer> ReferenceOps::PackEmbedding(const HostTensor& table) {
  const std::vector<float> values = ToFloats(table);
  auto buffer = Allocate(values.size() * sizeof(float));
  Upload(values.data(), buffer->data(), values.size() * sizeof(float));
  return buffer;
}

void ReferenceOps::Embed(Buffer& table, std::span<const int32_t> ids, float scale, Mat y) {
  for (size_t n = 0; n < ids.size(); ++n) {
    for (int64_t i = 0; i < y.cols; ++i) Row(y, n)[i] = table.f32()[ids[n] * y.cols + i] * scale;
  }
}

void ReferenceOps::Combine(std::span<const CombineTerm> terms, int64_t n, float* out) {
  for (int64_t i = 0; i < n; ++i) {
    double sum = 0;
    for (const CombineTerm& t : terms) sum += double{t.weight} * t.x[i];
    out[i] = static_cast<float>(sum);
  }
}

void ReferenceOps::FillNormal(uint64_t seed, uint32_t block, uint32_t step, int64_t n, float* out) {
  for (int64_t quad = 0; quad * 4 < n; ++quad) {
    const auto values = NormalQuad(seed, block, step, quad);
    for (int64_t i = quad * 4; i < n && i < quad * 4 + 4; ++i) out[i] = values[i - quad * 4];
  }
}

}  // namespace longtake::reference
