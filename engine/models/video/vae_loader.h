// What the loaders of all VAEs' layers have in common.
#ifndef LONGTAKE_ENGINE_MODELS_VIDEO_VAE_LOADER_H_
#define LONGTAKE_ENGINE_MODELS_VIDEO_VAE_LOADER_H_

#include <cstddef>
#include <vector>

#include "engine/models/folder/weight_loader.h"
#include "engine/models/video/vae_plan.h"

namespace longtake {

// Reads the weights of one half of a VAE and registers the frames that its layers keep. Without `pack`, it only checks
// that the tensors exist with their shapes and returns null, for the half that is not requested. `weights` keeps the
// first error; everything after it is null.
class VaeLoader {
 public:
  VaeLoader(WeightLoader& weights, bool pack)
      : weights_(weights), pack_(pack), packed_before_(weights.packed_bytes()) {}

  // Registers kept frames and returns their index in `kept()`.
  int Keep(const KeptFrames& kept) {
    kept_.push_back(kept);
    return static_cast<int>(kept_.size()) - 1;
  }
  const std::vector<KeptFrames>& kept() const { return kept_; }
  size_t packed_bytes() const { return weights_.packed_bytes() - packed_before_; }

 protected:
  WeightLoader& weights_;
  const bool pack_;

 private:
  size_t packed_before_;
  std::vector<KeptFrames> kept_;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_VIDEO_VAE_LOADER_H_
