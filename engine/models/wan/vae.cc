#include "engine/models/wan/vae.h"

#include <utility>

#include "common/status_macros.h"
#include "engine/core/json_config.h"
#include "engine/core/safetensors.h"

namespace longtake {

absl::StatusOr<WanVae> LoadWanVae(const std::string& folder, VaeParts parts, Ops* ops, LoadProgress progress) {
  WanVae vae;
  ASSIGN_OR_RETURN(JsonConfig json, JsonConfig::Load(folder + "/config.json"));
  ASSIGN_OR_RETURN(vae.config, ReadWanConfig(std::move(json)));
  ASSIGN_OR_RETURN(TensorStore store, TensorStore::Open(folder, "diffusion_pytorch_model"));
  WeightLoader weights(*ops, store, std::move(progress));
  const auto half = [&]<typename Half>(bool wanted, std::unique_ptr<Half>* out) {
    WanLoader loader(weights, /*pack=*/wanted);
    auto made = std::make_unique<Half>(vae.config, loader, ops);
    if (wanted) *out = std::move(made);
  };
  half(parts.decoder, &vae.decoder);
  half(parts.encoder, &vae.encoder);
  RETURN_IF_ERROR(weights.Finish());
  return vae;
}

}  // namespace longtake
