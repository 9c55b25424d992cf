// Loads the tiny decoder of a model folder.
#ifndef LONGTAKE_ENGINE_MODELS_TAEHV_LOAD_H_
#define LONGTAKE_ENGINE_MODELS_TAEHV_LOAD_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "engine/models/folder/weight_loader.h"
#include "engine/models/video/video_decoder.h"
#include "engine/ops/ops.h"

namespace longtake {

// A model folder may have a tiny decoder beside its VAE: one file, tiny_decoder/NAME.safetensors, with the names that
// madebyollin/taehv publishes (taew2_1, taeltx_2, taeltx2_3). Tensors of an encoder in it are not read.
//
// Returns the file's path; empty: the folder has no tiny_decoder. Errors name the folder, or the second file.
absl::StatusOr<std::string> FindTinyDecoder(const std::string& model_folder);

// `vae`: what the model's VAE makes of latents, with which the tiny decoder must agree; null: it stands alone. Errors
// name the file and the tensor. `ops` must outlive the result.
absl::StatusOr<std::unique_ptr<VideoDecoder>> LoadTinyDecoder(const std::string& file, const LatentGeometry* vae,
                                                              Ops* ops, LoadProgress progress = {});

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_TAEHV_LOAD_H_
