// Reads the Wan VAE's weights.
#ifndef LONGTAKE_ENGINE_MODELS_WAN_LOADER_H_
#define LONGTAKE_ENGINE_MODELS_WAN_LOADER_H_

#include <cstdint>
#include <memory>
#include <string>

#include "engine/models/video/vae_loader.h"
#include "engine/ops/ops.h"

namespace longtake {

class WanLoader : public VaeLoader {
 public:
  using VaeLoader::VaeLoader;

  // Reads `name`.weight [outputs, inputs, kt, kh, kw] and `name`.bias. With `spatial` the tensor has no kt axis.
  std::unique_ptr<PackedKernel> Kernel(const std::string& name, const KernelShape& shape, bool spatial = false);
  // Reads outputs [first, first + count) of such a kernel.
  std::unique_ptr<PackedKernel> KernelPart(const std::string& name, const KernelShape& shape, int64_t first,
                                           int64_t count, bool spatial = false);
  // Reads `name`.gamma [channels, 1, 1, 1], or [channels, 1, 1] with `spatial`, as float32 into backend memory.
  std::unique_ptr<Buffer> Gamma(const std::string& name, int64_t channels, bool spatial = false);
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_WAN_LOADER_H_
