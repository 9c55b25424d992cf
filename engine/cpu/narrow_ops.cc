#include "engine/cpu/narrow_ops.h"

#include <algorithm>
#include <cassert>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "engine/core/float16.h"
#include "engine/quantization/formats.h"
#include "engine/quantization/narrow_rows.h"
#include "engine/ops/activation.h"

namespace longtake::cpu {
namespace {

class NarrowKernel : public PackedKernel {
 public:
  NarrowKernel(const KernelShape& shape, std::unique_ptr<PackedKernel> rounded, std::vector<float> factors,
               std::vector<float> bias)
      : PackedKernel(shape), rounded_(std::move(rounded)), factors_(std::move(factors)), bias_(std::move(bias)) {}
  size_t bytes() const override { return rounded_->bytes() + (factors_.size() + bias_.size()) * sizeof(float); }
  const PackedKernel& rounded() const { return *rounded_; }
  float factor(int64_t output) const { return factors_[output]; }
  float bias(int64_t output) const { return bias_.empty() ? 0.f : bias_[output]; }

 private:
  std::unique_ptr<PackedKernel> rounded_;  // bf16, without bias
  std::vector<float> factors_;             // of each output
  std::vector<float> bias_;
};

std::vector<float> Joined(std::span<const HostTensor> tensors) {
  std::vector<float> all;
  for (const HostTensor& t : tensors) {
    const std::vector<float> part = ToFloats(t);
    all.insert(all.end(), part.begin(), part.end());
  }
  return all;
}

// Rounded weights as bf16 numbers, and what each output's sums are to be multiplied by.
struct Rounded {
  std::vector<uint16_t> values;
  std::vector<float> factors;
};

Rounded RoundE4m3(std::span<const float> weights, int64_t rows, int64_t columns) {
  const NarrowRows narrow = ToE4m3Rows(weights, rows, columns, columns);
  const auto* scales = reinterpret_cast<const float*>(narrow.scales.data());
  Rounded out{.values = {}, .factors = {scales, scales + rows}};
  for (const uint8_t code : narrow.data) out.values.push_back(FloatToBF16(DecodeE4m3(code)));
  return out;
}

Rounded RoundNvfp4(std::span<const float> weights, int64_t rows, int64_t columns) {
  const int64_t stride = RoundUp(columns, kNvfp4Block), blocks = stride / kNvfp4Block;
  const NarrowRows narrow = ToNvfp4Rows(weights, rows, columns, stride);
  Rounded out{.values = {}, .factors = std::vector<float>(rows, narrow.tensor_scale * kNvfp4ActivationScale)};
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) {
      const int64_t at = r * stride + c;
      const int code = narrow.data[at / 2] >> (at % 2 * 4) & 15;
      const uint8_t scale = narrow.scales[Nvfp4ScaleOffset(r, c / kNvfp4Block, blocks)];
      out.values.push_back(FloatToBF16(DecodeE2m1(static_cast<uint8_t>(code)) * DecodeE4m3(scale)));
    }
  }
  return out;
}

// As engine/cuda/kernels/dense.cu rounds a row of activations, to bf16 numbers again.
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

}  // namespace

NarrowCpuOps::NarrowCpuOps(Isa isa, const KernelTable& table, int threads, NarrowType type)
    : CpuOps(isa, table, Elem::kBF16, threads), type_(type) {}

std::string NarrowCpuOps::name() const {
  return absl::StrCat(CpuOps::name(), type_ == NarrowType::kFloat8 ? "/float8" : "/nvfp4");
}

std::unique_ptr<PackedKernel> NarrowCpuOps::Pack(const KernelShape& shape, std::span<const HostTensor> weights,
                                                 std::span<const HostTensor> biases) {
  if (!shape.low_precision) return CpuOps::Pack(shape, weights, biases);
  assert(shape.taps() == 1);
  const std::vector<float> all = Joined(weights);
  Rounded rounded = type_ == NarrowType::kFloat8 ? RoundE4m3(all, shape.outputs, shape.inputs)
                                                 : RoundNvfp4(all, shape.outputs, shape.inputs);
  const HostTensor tensor = {rounded.values.data(), DType::kBF16, {shape.outputs, shape.inputs}};
  return std::make_unique<NarrowKernel>(shape, CpuOps::Pack(shape, {&tensor, 1}, {}), std::move(rounded.factors),
                                        Joined(biases));
}

void NarrowCpuOps::Round(ConstMat x, Mat rounded, float* factors) {
  ForRows(x.rows, x.cols, [&](int64_t first, int64_t n, int) {
    for (int64_t r = first; r < first + n; ++r) {
      const auto* from = reinterpret_cast<const uint16_t*>(RowAt(x, r));
      auto* to = reinterpret_cast<uint16_t*>(RowAt(rounded, r));
      factors[r] = 1.f;
      if (type_ == NarrowType::kFloat8) {
        factors[r] = RoundRowE4m3(from, x.cols, to);
      } else {
        RoundRowNvfp4(from, x.cols, to);
      }
    }
  });
}

void NarrowCpuOps::Linear(const PackedKernel& w, ConstMat x, const Epilogue& e, Mat y) {
  if (!w.shape().low_precision) return CpuOps::Linear(w, x, e, y);
  const auto& kernel = static_cast<const NarrowKernel&>(w);
  const Mat rounded = MakeMat(rounded_.Get(x.rows * x.cols * sizeof(uint16_t)), DType::kBF16, x.rows, x.cols);
  const Mat sums = MakeMat(sums_.Get(y.rows * y.cols * sizeof(float)), DType::kF32, y.rows, y.cols);
  float* factors = factors_.Floats(x.rows);
  Round(x, rounded, factors);
  CpuOps::Linear(kernel.rounded(), rounded, {}, sums);
  ForRows(y.rows, y.cols, [&](int64_t first, int64_t n, int) {
    for (int64_t r = first; r < first + n; ++r) {
      const auto* sum = reinterpret_cast<const float*>(RowAt(sums, r));
      const float* gate = e.gate == nullptr ? nullptr : e.gate + e.mod_row[r] * e.gate_stride;
      for (int64_t c = 0; c < y.cols; ++c) {
        float v = Activated(e.activation, sum[c] * factors[r] * kernel.factor(c) + kernel.bias(c));
        if (gate != nullptr) v *= gate[c];
        WriteElement(y, r, c, e.residual ? ReadElement(y, r, c) + v : v);
      }
    }
  });
}

}  // namespace longtake::cpu
