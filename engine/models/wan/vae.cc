#include "engine/models/wan/vae.h"

#include <utility>

#include "common/status_macros.h"
#include "engine/core/json_config.h"
#include "engine/core/safetensors.h"
#include "engine/models/wan/config.h"
#include "engine/models/wan/decoder.h"
#include "engine/models/wan/encoder.h"

namespace longtake {

absl::StatusOr<VideoVae> LoadWanVae(const std::string& folder, VaeParts parts, Ops* ops, LoadProgress progress) {
  ASSIGN_OR_RETURN(JsonConfig json, JsonConfig::Load(folder + "/config.json"));
  ASSIGN_OR_RETURN(const WanConfig config, ReadWanConfig(std::move(json)));
  ASSIGN_OR_RETURN(TensorStore store, TensorStore::Open(folder, "diffusion_pytorch_model"));
  WeightLoader weights(*ops, store, std::move(progress));
  VideoVae vae;
  const auto half = [&]<typename Half>(bool wanted, auto* out) {
    WanLoader loader(weights, /*pack=*/wanted);
    auto made = std::make_unique<Half>(config, loader, ops);
    if (wanted) *out = std::move(made);
  };
  half.operator()<WanDecoder>(parts.decoder, &vae.decoder);
  half.operator()<WanEncoder>(parts.encoder, &vae.encoder);
  RETURN_IF_ERROR(weights.Finish());
  return vae;
}

}  // namespace longtake
