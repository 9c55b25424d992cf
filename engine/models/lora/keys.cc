#include "engine/models/lora/keys.h"

#include <string_view>

#include "absl/status/status.h"

namespace longtake {
namespace {

constexpr std::string_view kPrefixes[] = {"base_model.model.", "transformer.", "diffusion_model."};
constexpr std::string_view kFlatPrefixes[] = {"lora_unet_", "lora_transformer_"};

struct Suffix {
  std::string_view text;
  LoraPart part;
};
// Longer ones come before those that end them.
constexpr Suffix kSuffixes[] = {
    {".lora_A.default.weight", LoraPart::kA},
    {".lora_B.default.weight", LoraPart::kB},
    {".lora_A.weight", LoraPart::kA},
    {".lora_B.weight", LoraPart::kB},
    {".lora_down.weight", LoraPart::kA},
    {".lora_up.weight", LoraPart::kB},
    {".lora.down.weight", LoraPart::kA},
    {".lora.up.weight", LoraPart::kB},
    {".alpha", LoraPart::kAlpha},
};

struct Unsupported {
  std::string_view contained, why;
};
constexpr Unsupported kUnsupported[] = {
    {"dora_scale", "is of a DoRA adapter, whose magnitudes are not supported"},
    {"lora_magnitude_vector", "is of a DoRA adapter, whose magnitudes are not supported"},
    {"lora_embedding_", "is of an adapter of embeddings, which the transformer does not have"},
    {"lora_mid", "is of an adapter in three parts (LoCon with a core tensor), which is not supported"},
    {"lokr_", "is of a LoKr adapter, which is not supported"},
    {"hada_", "is of a LoHa adapter, which is not supported"},
    {"oft_", "is of an OFT adapter, which is not supported"},
    {"vera_", "is of a VeRA adapter, which is not supported"},
    {"ia3_", "is of an IA3 adapter, which is not supported"},
};

absl::Status Refused(std::string_view why) { return absl::InvalidArgumentError(std::string(why)); }

bool ConsumePrefix(std::string_view* text, std::string_view prefix) {
  if (!text->starts_with(prefix)) return false;
  text->remove_prefix(prefix.size());
  return true;
}

}  // namespace

absl::StatusOr<LoraKey> ParseLoraKey(const std::string& tensor) {
  for (const auto& [contained, why] : kUnsupported) {
    if (tensor.find(contained) != std::string::npos) return Refused(why);
  }
  std::string_view name = tensor;
  for (const std::string_view other : {"text_encoder", "lora_te"}) {
    if (name.starts_with(other)) return Refused("is of the text encoder, of which adapters are not supported");
  }
  if (name.ends_with(".bias")) return Refused("is a bias, which adapters must not have");
  for (const Suffix& suffix : kSuffixes) {
    if (!name.ends_with(suffix.text)) continue;
    name.remove_suffix(suffix.text.size());
    for (const std::string_view prefix : kPrefixes) ConsumePrefix(&name, prefix);
    for (const std::string_view prefix : kFlatPrefixes) {
      if (ConsumePrefix(&name, prefix)) break;
    }
    return LoraKey{.layer = std::string(name), .part = suffix.part};
  }
  return Refused("is no part of a low-rank adapter");
}

}  // namespace longtake
