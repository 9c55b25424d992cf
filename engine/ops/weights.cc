#include "engine/ops/weights.h"

#include "engine/ops/check.h"

namespace longtake {

std::unique_ptr<PackedKernel> WeightPacker::PackQuantized(const KernelShape& /*shape*/,
                                                          std::span<const QuantizedMatrix> /*weights*/,
                                                          std::span<const HostTensor> /*biases*/) {
  ContractViolated("PackQuantized", "this packer quantizes kernels");
}

}  // namespace longtake
