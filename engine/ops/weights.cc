#include "engine/ops/weights.h"

#include "engine/ops/check.h"

namespace longtake {

std::unique_ptr<PackedKernel> WeightPacker::PackQuantized(const KernelShape& /*shape*/,
                                                          std::span<const QuantizedMatrix> /*weights*/,
                                                          std::span<const HostTensor> /*biases*/) {
  ContractViolated("PackQuantized", "this packer quantizes kernels");
}

std::unique_ptr<PackedKernel> WeightPacker::Restore(PackedForm /*form*/, const KernelShape& /*shape*/,
                                                    std::span<const PackedBlock> /*blocks*/) {
  ContractViolated("Restore", "this packer has a layout");
}

EmbeddingTable WeightPacker::RestoreEmbedding(int64_t /*rows*/, int64_t /*width*/, const PackedBlock& /*block*/) {
  ContractViolated("RestoreEmbedding", "this packer has a layout");
}

}  // namespace longtake
