// The input `first_image` of the modules that sample: a picture, encoded by the folder's VAE.
#ifndef LONGTAKE_ENGINE_RUNNER_FIRST_IMAGE_H_
#define LONGTAKE_ENGINE_RUNNER_FIRST_IMAGE_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/ops/ops.h"
#include "engine/runner/modules.h"

namespace longtake {

// The picture's latent frame [C, 1, height, width]; empty where the input has none. `patch_t`: of the transformer, in
// time; only with 1 a frame can be held.
absl::StatusOr<std::vector<float>> EncodeFirstImage(Ops& ops, const ModuleRequest& request, ModuleInputs& in,
                                                    int64_t patch_t, int64_t channels, int64_t height, int64_t width);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_RUNNER_FIRST_IMAGE_H_
