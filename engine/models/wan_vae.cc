#include "engine/models/wan_vae.h"

#include <utility>

#include "common/status_macros.h"
#include "engine/core/json_config.h"
#include "engine/core/safetensors.h"

namespace longtake {

absl::StatusOr<WanVae> LoadWanVae(const std::string& folder, WanParts parts, Ops* ops) {
  WanVae vae;
  ASSIGN_OR_RETURN(JsonConfig json, JsonConfig::Load(folder + "/config.json"));
  ASSIGN_OR_RETURN(vae.config, ReadWanConfig(std::move(json)));
  ASSIGN_OR_RETURN(TensorStore store, TensorStore::Open(folder, "diffusion_pytorch_model"));
  if (parts.decoder) {
    ASSIGN_OR_RETURN(vae.decoder, WanDecoder::Load(vae.config, &store, ops));
  } else {
    RETURN_IF_ERROR(WanDecoder::Check(vae.config, &store));
  }
  if (parts.encoder) {
    ASSIGN_OR_RETURN(vae.encoder, WanEncoder::Load(vae.config, &store, ops));
  } else {
    RETURN_IF_ERROR(WanEncoder::Check(vae.config, &store));
  }
  RETURN_IF_ERROR(store.CheckAllUsed());
  return vae;
}

}  // namespace longtake
