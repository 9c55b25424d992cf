// Loads an LTX-2 VAE from its folder.
#ifndef LONGTAKE_ENGINE_MODELS_LTX2_VAE_H_
#define LONGTAKE_ENGINE_MODELS_LTX2_VAE_H_

#include <string>

#include "absl/status/statusor.h"
#include "engine/models/folder/weight_loader.h"
#include "engine/models/video/vae.h"
#include "engine/ops/ops.h"

namespace longtake {

// Reads `folder`/config.json and diffusion_pytorch_model(.safetensors). All tensors are checked, those of the requested
// parts are packed. Errors name the file and the field or tensor; a superfluous tensor is an error.
absl::StatusOr<VideoVae> LoadLtx2Vae(const std::string& folder, VaeParts parts, Ops* ops, LoadProgress progress = {});

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_LTX2_VAE_H_
