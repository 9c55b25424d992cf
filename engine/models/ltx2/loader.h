// Reads the LTX-2 VAE's weights and registers the frames that its layers keep.
#ifndef LONGTAKE_ENGINE_MODELS_LTX2_LOADER_H_
#define LONGTAKE_ENGINE_MODELS_LTX2_LOADER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/models/folder/weight_loader.h"
#include "engine/models/ltx2/plan.h"
#include "engine/ops/ops.h"

namespace longtake {

// Without `pack`, it only checks that the tensors exist with their shapes and returns null, for the half of the VAE
// that is not requested. `weights` keeps the first error; everything after it is null.
class Ltx2Loader {
 public:
  Ltx2Loader(WeightLoader& weights, bool pack)
      : weights_(weights), pack_(pack), packed_before_(weights.packed_bytes()) {}

  // Reads outputs [0, used) of the 3x3x3 convolution `name`.conv.weight [outputs, inputs, 3, 3, 3] and
  // `name`.conv.bias.
  std::unique_ptr<PackedKernel> Kernel(const std::string& name, int64_t inputs, int64_t outputs, int64_t used);

  // Registers kept frames and returns their index in `kept()`.
  int Keep(const Ltx2Kept& kept);
  const std::vector<Ltx2Kept>& kept() const { return kept_; }
  int NextConv() { return convs_++; }  // numbers convolutions in the order in which frames run through them
  size_t packed_bytes() const { return weights_.packed_bytes() - packed_before_; }

 private:
  WeightLoader& weights_;
  bool pack_;
  size_t packed_before_;
  std::vector<Ltx2Kept> kept_;
  int convs_ = 0;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_LTX2_LOADER_H_
