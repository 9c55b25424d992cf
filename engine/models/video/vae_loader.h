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

  // Registers a ring, or kept frames, and returns their index among them. Rings of a stage are registered in the order
  // in which they run.
  int Ring(const RingShape& ring) {
    kept_.rings.push_back(ring);
    return static_cast<int>(kept_.rings.size()) - 1;
  }
  int Keep(const KeptFrames& kept) {
    kept_.frames.push_back(kept);
    return static_cast<int>(kept_.frames.size()) - 1;
  }
  const Kept& kept() const { return kept_; }
  size_t packed_bytes() const { return weights_.packed_bytes() - packed_before_; }

 protected:
  WeightLoader& weights_;
  const bool pack_;

 private:
  size_t packed_before_;
  Kept kept_;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_VIDEO_VAE_LOADER_H_
