// Packs weights as float32.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "engine/core/float16.h"
#include "engine/ops/check.h"
#include "engine/reference/families.h"
#include "engine/reference/kernel.h"

namespace longtake::reference {
namespace {

class Packer final : public WeightPacker {
 public:
  explicit Packer(Device* device) : device_(*device) {}

  std::unique_ptr<PackedKernel> Pack(const KernelShape& shape, std::span<const HostTensor> weights,
                                     std::span<const HostTensor> biases) override {
    const int64_t taps = shape.taps();
    std::vector<float> weight(shape.outputs * taps * shape.inputs), bias(shape.outputs, 0.f);
    int64_t output = 0, bias_at = 0;
    for (const HostTensor& t : weights) {
      const std::vector<float> from = ToFloats(t);  // [outputs, inputs, taps]
      for (int64_t o = 0; o < t.shape[0]; ++o, ++output) {
        for (int64_t i = 0; i < shape.inputs; ++i) {
          for (int64_t k = 0; k < taps; ++k) {
            weight[(output * taps + k) * shape.inputs + i] = from[(o * shape.inputs + i) * taps + k];
          }
        }
      }
    }
    for (const HostTensor& t : biases) {
      for (float b : ToFloats(t)) bias[bias_at++] = b;
    }
    Require(output == shape.outputs && (bias_at == 0 || bias_at == shape.outputs), "Pack",
            "weights and biases have the shape's outputs");
    return std::make_unique<Kernel>(shape, std::move(weight), std::move(bias));
  }

  // The rows of G, then the rows of U. `shape` is that of one of them.
  std::unique_ptr<PackedKernel> PackGated(const KernelShape& shape, const HostTensor& gate,
                                          const HostTensor& up) override {
    const HostTensor both[] = {gate, up};
    return std::make_unique<Kernel>(shape, ToFloats(both), std::vector<float>());
  }

  std::unique_ptr<PackedKernel> PackDepthwise(const HostTensor& weight, const HostTensor& bias) override {
    const KernelShape shape{.outputs = weight.shape[0], .inputs = 1, .kt = 1, .kh = 3, .kw = 3};
    return Pack(shape, {&weight, 1}, {&bias, 1});
  }

  EmbeddingTable PackEmbedding(const HostTensor& table) override {
    const std::vector<float> values = ToFloats(table);
    auto buffer = device_.Allocate(values.size() * sizeof(float));
    device_.Upload(values.data(), buffer->data(), values.size() * sizeof(float));
    return {.data = std::move(buffer), .rows = table.shape[0], .width = table.shape[1]};
  }

 private:
  Device& device_;
};

}  // namespace

std::unique_ptr<WeightPacker> MakeWeightPacker(Device* device) { return std::make_unique<Packer>(device); }

}  // namespace longtake::reference
