// Internal to cpu/: the weight packer. The quantized packer derives from it.
#ifndef LONGTAKE_ENGINE_CPU_WEIGHTS_H_
#define LONGTAKE_ENGINE_CPU_WEIGHTS_H_

#include <memory>
#include <span>
#include <string>

#include "engine/cpu/context.h"
#include "engine/ops/weights.h"

namespace longtake::cpu {

class CpuWeightPacker : public WeightPacker {
 public:
  // Kernels that may be quantized get the type `low_precision`: that of activations, or int8.
  CpuWeightPacker(Context& context, DType low_precision) : context_(context), low_precision_(low_precision) {}

  std::string layout() const override;
  std::unique_ptr<PackedKernel> Restore(PackedForm form, const KernelShape& shape,
                                        std::span<const PackedBlock> blocks) override;
  EmbeddingTable RestoreEmbedding(int64_t rows, int64_t width, const PackedBlock& block) override;
  std::unique_ptr<PackedKernel> Pack(const KernelShape& shape, std::span<const HostTensor> weights,
                                     std::span<const HostTensor> biases) override;
  std::unique_ptr<PackedKernel> PackGated(const KernelShape& shape, const HostTensor& gate,
                                          const HostTensor& up) override;
  std::unique_ptr<PackedKernel> PackDepthwise(const HostTensor& weight, const HostTensor& bias) override;
  EmbeddingTable PackEmbedding(const HostTensor& table) override;
  Quantization quantization() const override {
    return low_precision_ == DType::kI8 ? Quantization::kInt8 : Quantization::kNone;
  }

 private:
  DType TypeOf(const KernelShape& shape) const;

  Context& context_;
  const DType low_precision_;
};

}  // namespace longtake::cpu

#endif  // LONGTAKE_ENGINE_CPU_WEIGHTS_H_
