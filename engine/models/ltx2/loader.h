// Reads the LTX-2 VAE's weights and numbers its convolutions.
#ifndef LONGTAKE_ENGINE_MODELS_LTX2_LOADER_H_
#define LONGTAKE_ENGINE_MODELS_LTX2_LOADER_H_

#include <cstdint>
#include <memory>
#include <string>

#include "engine/models/video/vae_loader.h"
#include "engine/ops/ops.h"

namespace longtake {

class Ltx2Loader : public VaeLoader {
 public:
  using VaeLoader::VaeLoader;

  // Reads outputs [0, used) of the 3x3x3 convolution `name`.conv.weight [outputs, inputs, 3, 3, 3] and
  // `name`.conv.bias.
  std::unique_ptr<PackedKernel> Kernel(const std::string& name, int64_t inputs, int64_t outputs, int64_t used);
  int NextConv() { return convs_++; }  // numbers convolutions in the order in which frames run through them

 private:
  int convs_ = 0;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_LTX2_LOADER_H_
