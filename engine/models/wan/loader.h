// Reads the Wan VAE's weights and registers the rings that its convolutions need.
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

// Without `pack`, it only checks that the tensors exist with their shapes and returns null, for the half of the VAE
// that is not requested. `weights` keeps the first error; everything after it is null.
class WanLoader {
 public:
  WanLoader(WeightLoader& weights, bool pack)
      : weights_(weights), pack_(pack), packed_before_(weights.packed_bytes()) {}

  // Reads `name`.weight [outputs, inputs, kt, kh, kw] and `name`.bias. With `spatial` the tensor has no kt axis.
  std::unique_ptr<PackedKernel> Kernel(const std::string& name, const KernelShape& shape, bool spatial = false);
  // Reads outputs [first, first + count) of such a kernel.
  std::unique_ptr<PackedKernel> KernelPart(const std::string& name, const KernelShape& shape, int64_t first,
                                           int64_t count, bool spatial = false);
  // Reads `name`.gamma [channels, 1, 1, 1], or [channels, 1, 1] with `spatial`, as float32 into backend memory.
  std::unique_ptr<Buffer> Gamma(const std::string& name, int64_t channels, bool spatial = false);

  // Registers a ring and returns its index in `rings()`.
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
