// Reads the Wan VAE's weights and notes the rings that its convolutions need.
#ifndef LONGTAKE_ENGINE_MODELS_WAN_LOADER_H_
#define LONGTAKE_ENGINE_MODELS_WAN_LOADER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/models/folder/weight_loader.h"
#include "engine/models/wan/plan.h"
#include "engine/ops/ops.h"

namespace longtake {

// Without `pack` it only checks that the tensors are there in their shapes (of the half not wanted) and returns nulls.
// Errors stick in `weights`, and everything after the first is null.
class WanLoader {
 public:
  WanLoader(WeightLoader& weights, bool pack)
      : weights_(weights), pack_(pack), packed_before_(weights.packed_bytes()) {}

  // `name`.weight [outputs, inputs, kt, kh, kw] and `name`.bias. With `spatial` the tensor has no axis kt.
  std::unique_ptr<PackedKernel> Kernel(const std::string& name, const KernelShape& shape, bool spatial = false);
  // Outputs [first, first + count) of the same.
  std::unique_ptr<PackedKernel> KernelPart(const std::string& name, const KernelShape& shape, int64_t first,
                                           int64_t count, bool spatial = false);
  // `name`.gamma [channels, 1, 1, 1], or [channels, 1, 1] with `spatial`; as float32 in backend memory.
  std::unique_ptr<Buffer> Gamma(const std::string& name, int64_t channels, bool spatial = false);

  // A new ring; its index in `rings()`.
  int Ring(int stage, int64_t channels);
  const std::vector<WanRing>& rings() const { return rings_; }
  size_t packed_bytes() const { return weights_.packed_bytes() - packed_before_; }

 private:
  WeightLoader& weights_;
  bool pack_;
  size_t packed_before_;
  std::vector<WanRing> rings_;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_WAN_LOADER_H_
