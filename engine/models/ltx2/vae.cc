#include "engine/models/ltx2/vae.h"

#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "engine/core/json_config.h"
#include "engine/core/safetensors.h"
#include "engine/models/ltx2/config.h"
#include "engine/models/ltx2/decoder.h"
#include "engine/models/ltx2/encoder.h"

namespace longtake {
namespace {

// Reads the statistics `name` [channels]: z = normalized * std + mean.
std::vector<float> Statistics(WeightLoader& weights, const std::string& folder, const std::string& name,
                              int64_t channels, bool positive) {
  std::vector<float> values = weights.HostFloats(name, {channels});
  for (const float v : values) {
    if (!std::isfinite(v) || (positive && v <= 0)) {
      weights.Fail(absl::StrCat(folder, ": tensor ", name, " cannot hold ", v));
    }
  }
  return values;
}

}  // namespace

absl::StatusOr<VideoVae> LoadLtx2Vae(const std::string& folder, VaeParts parts, Ops* ops, LoadProgress progress) {
  ASSIGN_OR_RETURN(JsonConfig json, JsonConfig::Load(folder + "/config.json"));
  ASSIGN_OR_RETURN(const Ltx2Config config, ReadLtx2Config(std::move(json)));
  ASSIGN_OR_RETURN(TensorStore store, TensorStore::Open(folder, "diffusion_pytorch_model"));
  WeightLoader weights(*ops, store, std::move(progress));
  const std::vector<float> mean = Statistics(weights, folder, "latents_mean", config.latent_channels, false);
  const std::vector<float> std = Statistics(weights, folder, "latents_std", config.latent_channels, true);
  VideoVae vae;
  const auto half = [&]<typename Half>(bool wanted, auto* out) {
    Ltx2Loader loader(weights, /*pack=*/wanted);
    auto made = std::make_unique<Half>(config, mean, std, loader, ops);
    if (wanted) *out = std::move(made);
  };
  half.operator()<Ltx2Decoder>(parts.decoder, &vae.decoder);
  half.operator()<Ltx2Encoder>(parts.encoder, &vae.encoder);
  RETURN_IF_ERROR(weights.Finish());
  return vae;
}

}  // namespace longtake
