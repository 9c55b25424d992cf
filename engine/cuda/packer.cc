// Weights from files' order to the device's.
#include <algorithm>
#include <new>
#include <utility>
#include <vector>

#include "engine/core/float16.h"
#include "engine/cuda/families.h"
#include "engine/cuda/weights.h"

namespace longtake::cuda {
namespace {

// [outputs, inputs, taps] to the device's order, [outputs, taps, inputs], appended.
void AppendTapMajor(const HostTensor& t, const KernelShape& shape, std::vector<float>* out) {
  const std::vector<float> values = ToFloats(t);
  const int64_t taps = shape.taps();
  if (taps == 1) {
    out->insert(out->end(), values.begin(), values.end());
    return;
  }
  for (int64_t row = 0; row < t.shape[0]; ++row) {
    for (int64_t tap = 0; tap < taps; ++tap) {
      for (int64_t i = 0; i < shape.inputs; ++i) out->push_back(values[(row * shape.inputs + i) * taps + tap]);
    }
  }
}

// Memory is the only thing that can fail here; it fails as every allocation of a backend does.
void ThrowUnlessOk(const absl::Status& status) {
  if (!status.ok()) throw std::bad_alloc();
}

class Packer final : public WeightPacker {
 public:
  Packer(StreamState& state, Device& device) : state_(state), device_(device) {}

  std::unique_ptr<PackedKernel> Pack(const KernelShape& shape, std::span<const HostTensor> weights,
                                     std::span<const HostTensor> biases) override {
    const std::vector<float> bias = ToFloats(biases);
    auto kernel = std::make_unique<CudaKernel>(shape, shape.outputs);
    const OperandType type = shape.low_precision ? state_.low_precision : OperandType::kBf16;
    ThrowUnlessOk(context().Bind());
    const bool as_they_are =
        type == OperandType::kBf16 && shape.taps() == 1 && kernel->stride() == kernel->inputs() &&
        std::all_of(weights.begin(), weights.end(), [](const HostTensor& t) { return t.dtype == DType::kBF16; });
    if (as_they_are) {
      ThrowUnlessOk(kernel->UploadBf16(context(), weights, bias));
      return kernel;
    }
    std::vector<float> all;
    all.reserve(shape.outputs * shape.taps() * shape.inputs);
    for (const HostTensor& t : weights) AppendTapMajor(t, shape, &all);
    ThrowUnlessOk(kernel->Upload(context(), type, all, bias));
    return kernel;
  }

  Quantization quantization() const override {
    switch (state_.low_precision) {
      case OperandType::kE4m3:
        return Quantization::kFloat8;
      case OperandType::kNvfp4:
        return Quantization::kNvfp4;
      case OperandType::kBf16:
        break;
    }
    return Quantization::kNone;
  }

  std::unique_ptr<PackedKernel> PackQuantized(const KernelShape& shape, std::span<const QuantizedMatrix> weights,
                                              std::span<const HostTensor> biases) override {
    auto kernel = std::make_unique<CudaKernel>(shape, shape.outputs);
    ThrowUnlessOk(context().Bind());
    ThrowUnlessOk(kernel->Upload(context(), state_.low_precision, weights, ToFloats(biases)));
    return kernel;
  }

  std::unique_ptr<PackedKernel> PackGated(const KernelShape& shape, const HostTensor& gate,
                                          const HostTensor& up) override {
    const HostTensor both[] = {gate, up};
    const std::vector<float> all = ToFloats(both);
    auto kernel = std::make_unique<CudaKernel>(shape, 2 * shape.outputs);
    ThrowUnlessOk(context().Bind());
    ThrowUnlessOk(kernel->Upload(context(), shape.low_precision ? state_.low_precision : OperandType::kBf16, all, {}));
    return kernel;
  }

  std::unique_ptr<PackedKernel> PackDepthwise(const HostTensor& weight, const HostTensor& bias) override {
    const int64_t channels = weight.shape[0];
    const std::vector<float> w = ToFloats(weight), b = ToFloats(bias);
    std::vector<float> all(10 * channels);
    for (int64_t c = 0; c < channels; ++c) {
      for (int tap = 0; tap < 9; ++tap) all[tap * channels + c] = w[c * 9 + tap];
      all[9 * channels + c] = b[c];
    }
    auto kernel = std::make_unique<CudaDepthwise>(channels);
    ThrowUnlessOk(context().Bind());
    ThrowUnlessOk(kernel->Upload(context(), all));
    return kernel;
  }

  // In bf16, as all weights; Gemma's are published so.
  EmbeddingTable PackEmbedding(const HostTensor& table) override {
    const std::vector<float> values = ToFloats(table);
    std::vector<uint16_t> rounded(values.size());
    for (size_t i = 0; i < values.size(); ++i) rounded[i] = FloatToBF16(values[i]);
    EmbeddingTable packed = {
        .data = device_.Allocate(rounded.size() * sizeof(uint16_t)), .rows = table.shape[0], .width = table.shape[1]};
    device_.Upload(rounded.data(), packed.data->data(), rounded.size() * sizeof(uint16_t));
    // The upload reads `rounded` until the stream has reached it.
    state_.launcher().Check(cudaStreamSynchronize(context().stream()), "embedding");
    return packed;
  }

 private:
  Context& context() const { return *state_.context; }

  StreamState& state_;
  Device& device_;
};

}  // namespace

std::unique_ptr<WeightPacker> MakeWeightPacker(StreamState& state, Device& device) {
  return std::make_unique<Packer>(state, device);
}

}  // namespace longtake::cuda
