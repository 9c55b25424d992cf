#include "engine/models/wan_vae.h"

#include <utility>

#include "common/status_macros.h"
#include "engine/core/json_config.h"
#include "engine/core/safetensors.h"

namespace longtake {

absl::StatusOr<WanVae> LoadWanVae(const std::string& folder, WanParts parts, Ops* ops, LoadProgress progress) {
  WanVae vae;
  ASSIGN_OR_RETURN(JsonConfig json, JsonConfig::Load(folder + "/config.json"));
  ASSIGN_OR_RETURN(vae.config, ReadWanConfig(std::move(json)));
  ASSIGN_OR_RETURN(TensorStore store, TensorStore::Open(folder, "diffusion_pytorch_model"));
  WeightLoader weights(*ops, store, std::move(progress));
  if (parts.decoder) {
    vae.decoder = WanDecoder::Load(vae.config, weights, ops);
  } else {
    WanDecoder::Check(vae.config, weights);
  }
  if (parts.encoder) {
    vae.encoder = WanEncoder::Load(vae.config, weights, ops);
  } else {
    WanEncoder::Check(vae.config, weights);
  }
  RETURN_IF_ERROR(weights.Finish());
  return vae;
}

}  // namespace longtake
