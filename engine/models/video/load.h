// Loads a VAE of any supported class from its folder.
#ifndef LONGTAKE_ENGINE_MODELS_VIDEO_LOAD_H_
#define LONGTAKE_ENGINE_MODELS_VIDEO_LOAD_H_

#include <string>

#include "absl/status/statusor.h"
#include "engine/models/folder/weight_loader.h"
#include "engine/models/video/vae.h"
#include "engine/ops/ops.h"

namespace longtake {

// Reads `folder`/config.json, whose `_class_name` selects the class, and diffusion_pytorch_model(.safetensors). All
// tensors are checked, those of the requested parts are packed. Errors name the file and the field or tensor; a
// superfluous tensor is an error. `ops` must outlive the result.
absl::StatusOr<VideoVae> LoadVideoVae(const std::string& folder, VaeParts parts, Ops* ops, LoadProgress progress = {});

// Reads `folder`/config.json alone: the geometry of the VAE that LoadVideoVae would load, or why it would refuse that
// file, so that nobody waits for other parts' weights before hearing of it.
absl::StatusOr<LatentGeometry> ReadVideoGeometry(const std::string& folder);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_VIDEO_LOAD_H_
