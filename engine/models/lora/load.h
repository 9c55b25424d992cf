// Reads low-rank adapters from a folder.
#ifndef LONGTAKE_ENGINE_MODELS_LORA_LOAD_H_
#define LONGTAKE_ENGINE_MODELS_LORA_LOAD_H_

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/models/folder/weight_loader.h"
#include "engine/models/lora/adapter.h"
#include "engine/ops/ops.h"

namespace longtake {

// The rank may be up to this. Published adapters have 4 to 256.
constexpr int64_t kMaxLoraRank = 1024;

// An adapter's files.
struct AdapterFiles {
  std::string name;
  std::string weights;  // path of the safetensors file
  std::string config;   // path of peft's adapter_config.json; empty: there is none
};

// Lists the adapters in `folder`, sorted by name. An adapter NAME is
// - NAME.safetensors, or
// - a folder NAME with adapter_model.safetensors and perhaps adapter_config.json, as peft writes it, or
// - a folder NAME with pytorch_lora_weights.safetensors, as diffusers writes it.
// Names have 1 to 64 letters, digits, '.', '_' and '-' and begin with a letter or a digit. Files and folders that begin
// with a dot, and lost+found, which some file systems make, are passed over. Errors name what is none of these.
absl::StatusOr<std::vector<AdapterFiles>> ListAdapters(const std::string& folder);

// Reads an adapter of the transformer whose layers are given, and packs it for `ops`.
//
// InvalidArgument names file and tensor: of an unsupported kind (keys.h), of a layer that the transformer does not have
// or that has no adapters (depthwise convolutions), of a wrong shape or type, of rank 0 or above kMaxLoraRank, not
// finite, given twice, or without its counterpart; or it names the field of the configuration (scales.h).
// ResourceExhausted: the host has too little memory for it.
absl::StatusOr<std::shared_ptr<const Adapter>> LoadAdapter(Ops& ops, const AdapterFiles& files,
                                                           std::span<const LoadedLayer> layers);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_LORA_LOAD_H_
