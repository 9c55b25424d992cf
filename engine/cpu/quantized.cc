#include "engine/cpu/quantized.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "engine/core/float16.h"
#include "engine/cpu/dense.h"
#include "engine/cpu/views.h"
#include "engine/cpu/weights.h"
#include "engine/ops/activated.h"
#include "engine/ops/check.h"
#include "engine/quantization/formats.h"
#include "engine/quantization/narrow_rows.h"

namespace longtake::cpu {
namespace {

class QuantizedKernel final : public PackedKernel {
 public:
  // `rounded` are the weights as bf16 numbers, without bias; `factors` scale the sums of each output.
  QuantizedKernel(const KernelShape& shape, std::unique_ptr<PackedKernel> rounded, std::vector<float> factors,
                  std::vector<float> bias)
      : PackedKernel(shape), rounded_(std::move(rounded)), factors_(std::move(factors)), bias_(std::move(bias)) {}

  size_t bytes() const override { return rounded_->bytes() + (factors_.size() + bias_.size()) * sizeof(float); }
  const CpuKernel& rounded() const { return static_cast<const CpuKernel&>(*rounded_); }
  float factor(int64_t output) const { return factors_[output]; }
  float bias(int64_t output) const { return bias_.empty() ? 0.f : bias_[output]; }

 private:
  std::unique_ptr<PackedKernel> rounded_;
  std::vector<float> factors_, bias_;
};

// Quantized weights as bf16 numbers, and the factor of each output's sums.
struct Rounded {
  std::vector<uint16_t> values;
  std::vector<float> factors;
};

Rounded FromE4m3(const NarrowRows& rounded, int64_t rows) {
  const auto* scales = reinterpret_cast<const float*>(rounded.scales.data());
  Rounded out{.values = {}, .factors = {scales, scales + rows}};
  for (const uint8_t code : rounded.data) out.values.push_back(FloatToBF16(DecodeE4m3(code)));
  return out;
}

// Each row has `stride` elements.
Rounded FromNvfp4(const NarrowRows& rounded, int64_t rows, int64_t columns, int64_t stride) {
  const int64_t blocks = stride / kNvfp4Block;
  Rounded out{.values = {}, .factors = std::vector<float>(rows, rounded.tensor_scale * kNvfp4ActivationScale)};
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) {
      const uint8_t code = E2m1Code(rounded.data.data(), r * stride + c);
      const uint8_t scale = rounded.scales[Nvfp4ScaleOffset(r, c / kNvfp4Block, blocks)];
      out.values.push_back(FloatToBF16(DecodeE2m1(code) * DecodeE4m3(scale)));
    }
  }
  return out;
}

// Rounds a row of activations as engine/cuda/kernels/dense.cu does, and converts the result to bf16.
float RoundRowE4m3(const uint16_t* x, int64_t columns, uint16_t* y) {
  float largest = 0.f;
  for (int64_t c = 0; c < columns; ++c) largest = std::max(largest, std::abs(BF16ToFloat(x[c])));
  const float scale = largest > 0.f ? largest / kLargestE4m3 : 1.f, inverse = 1.f / scale;
  for (int64_t c = 0; c < columns; ++c) y[c] = FloatToBF16(DecodeE4m3(EncodeE4m3(BF16ToFloat(x[c]) * inverse)));
  return scale;
}

void RoundRowNvfp4(const uint16_t* x, int64_t columns, uint16_t* y) {
  for (int64_t first = 0; first < columns; first += kNvfp4Block) {
    const int64_t end = std::min<int64_t>(first + kNvfp4Block, columns);
    float largest = 0.f, inverse = 0.f;
    for (int64_t c = first; c < end; ++c) largest = std::max(largest, std::abs(BF16ToFloat(x[c])));
    const float scale = DecodeE4m3(Nvfp4Scale(largest, kNvfp4ActivationScale, &inverse));
    for (int64_t c = first; c < end; ++c) {
      y[c] = FloatToBF16(DecodeE2m1(EncodeE2m1(BF16ToFloat(x[c]) * inverse)) * scale);
    }
  }
}

class QuantizedWeightPacker final : public CpuWeightPacker {
 public:
  QuantizedWeightPacker(Context& context, Quantization quantization)
      : CpuWeightPacker(context, context.activation_type), quantization_(quantization) {}

  std::unique_ptr<PackedKernel> Pack(const KernelShape& shape, std::span<const HostTensor> weights,
                                     std::span<const HostTensor> biases) override {
    if (!shape.low_precision) return CpuWeightPacker::Pack(shape, weights, biases);
    Require(shape.taps() == 1, "Pack", "a low_precision kernel has one tap");
    const std::vector<float> all = ToFloats(weights);
    return Packed(shape,
                  quantization_ == Quantization::kFloat8 ? ToE4m3Rows(all, shape.outputs, shape.inputs, Stride(shape))
                                                         : ToNvfp4Rows(all, shape.outputs, shape.inputs, Stride(shape)),
                  biases);
  }
  Quantization quantization() const override { return quantization_; }
  std::string layout() const override { return ""; }  // it is for evaluations, where loading may take its time
  std::unique_ptr<PackedKernel> PackQuantized(const KernelShape& shape, std::span<const QuantizedMatrix> weights,
                                              std::span<const HostTensor> biases) override {
    return Packed(shape, StackRows(weights, Stride(shape)), biases);
  }

 private:
  int64_t Stride(const KernelShape& shape) const {
    return quantization_ == Quantization::kFloat8 ? shape.inputs : RoundUp(shape.inputs, kNvfp4Block);
  }
  std::unique_ptr<PackedKernel> Packed(const KernelShape& shape, const NarrowRows& rows,
                                       std::span<const HostTensor> biases) {
    Rounded rounded = quantization_ == Quantization::kFloat8
                          ? FromE4m3(rows, shape.outputs)
                          : FromNvfp4(rows, shape.outputs, shape.inputs, Stride(shape));
    const HostTensor tensor = {rounded.values.data(), DType::kBF16, {shape.outputs, shape.inputs}};
    return std::make_unique<QuantizedKernel>(shape, CpuWeightPacker::Pack(shape, {&tensor, 1}, {}),
                                             std::move(rounded.factors), ToFloats(biases));
  }

  const Quantization quantization_;
};

class QuantizedDenseOps final : public CpuDenseOps {
 public:
  QuantizedDenseOps(Context& context, Quantization quantization) : CpuDenseOps(context), quantization_(quantization) {}
  // Sums are scaled after the product, so the product's kernel cannot add terms to them.
  bool adds_low_rank() const override { return false; }

 private:
  void DoLinear(const LinearArgs& args) override;
  // Rounds rows, and computes the factor of each row's products.
  void Round(const ConstMat& x, const Mat& rounded, float* factors);

  // For 1024 rows the sums take 55 MB at the widest layer (13 440 outputs). For a whole clip they would take 1.6 GB.
  static constexpr int64_t kRowsAtATime = 1024;

  const Quantization quantization_;
};

void QuantizedDenseOps::Round(const ConstMat& x, const Mat& rounded, float* factors) {
  context_.ForRows(x.rows, x.cols, [&](int64_t first, int64_t n, int) {
    for (int64_t r = first; r < first + n; ++r) {
      const auto* from = reinterpret_cast<const uint16_t*>(RowAt(x, r));
      auto* to = reinterpret_cast<uint16_t*>(RowAt(rounded, r));
      factors[r] = 1.f;
      if (quantization_ == Quantization::kFloat8) {
        factors[r] = RoundRowE4m3(from, x.cols, to);
      } else {
        RoundRowNvfp4(from, x.cols, to);
      }
    }
  });
}

void QuantizedDenseOps::DoLinear(const LinearArgs& args) {
  if (!args.kernel.shape().low_precision) return CpuDenseOps::DoLinear(args);
  const auto& kernel = static_cast<const QuantizedKernel&>(args.kernel);
  const ConstMat& x = args.x;
  const Mat& y = args.y;
  const Epilogue& e = args.epilogue;
  Workspace::Scope scope(context_.workspace);
  const int64_t most = std::min(kRowsAtATime, x.rows);
  const Mat sums = scope.TakeMat(DType::kF32, most, y.cols);
  const Mat rounded = scope.TakeMat(DType::kBF16, most, x.cols);
  float* const factors = scope.TakeFloats(most);
  for (int64_t begin = 0; begin < x.rows; begin += kRowsAtATime) {
    const int64_t rows = std::min(kRowsAtATime, x.rows - begin);
    Round(x.Rows(begin, rows), rounded, factors);
    LinearProduct(context_, kernel.rounded(), rounded.Rows(0, rows), {}, {}, sums.Rows(0, rows));
    context_.ForRows(rows, y.cols, [&](int64_t first, int64_t n, int) {
      for (int64_t r = first; r < first + n; ++r) {
        const auto* sum = reinterpret_cast<const float*>(RowAt(sums, r));
        const float* gate = e.gate == nullptr ? nullptr : e.gate + e.mod_row[begin + r] * e.gate_stride;
        for (int64_t c = 0; c < y.cols; ++c) {
          float v = Activated(e.activation, sum[c] * factors[r] * kernel.factor(c) + kernel.bias(c));
          if (gate != nullptr) v *= gate[c];
          WriteElement(y, begin + r, c, e.residual ? ReadElement(y, begin + r, c) + v : v);
        }
      }
    });
  }
}

}  // namespace

std::unique_ptr<WeightPacker> MakeQuantizedWeightPacker(Context& context, Quantization quantization) {
  return std::make_unique<QuantizedWeightPacker>(context, quantization);
}

std::unique_ptr<DenseOps> MakeQuantizedDenseOps(Context& context, Quantization quantization) {
  return std::make_unique<QuantizedDenseOps>(context, quantization);
}

}  // namespace longtake::cpu
