#include "engine/models/video/load.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "engine/core/json_config.h"
#include "engine/models/ltx2/config.h"
#include "engine/models/ltx2/vae.h"
#include "engine/models/wan/config.h"
#include "engine/models/wan/vae.h"

namespace longtake {
namespace {

enum class VaeClass { kWan, kLtx2 };

absl::StatusOr<VaeClass> ClassOf(JsonConfig& config) {
  const std::string name = config.String("_class_name", "");
  if (name == "AutoencoderKLWan") return VaeClass::kWan;
  if (name == "AutoencoderKLLTX2Video" || name == "AutoencoderKLCausalLTX2Video") return VaeClass::kLtx2;
  config.Fail("_class_name", name.empty() ? "is missing"
                                          : absl::StrCat("is ", name.substr(0, 80),
                                                         "; AutoencoderKLWan, AutoencoderKLLTX2Video and "
                                                         "AutoencoderKLCausalLTX2Video are supported"));
  return config.FirstError();
}

}  // namespace

absl::StatusOr<VideoVae> LoadVideoVae(const std::string& folder, VaeParts parts, Ops* ops, LoadProgress progress) {
  ASSIGN_OR_RETURN(JsonConfig config, JsonConfig::Load(folder + "/config.json"));
  ASSIGN_OR_RETURN(const VaeClass kind, ClassOf(config));
  return kind == VaeClass::kWan ? LoadWanVae(folder, parts, ops, std::move(progress))
                                : LoadLtx2Vae(folder, parts, ops, std::move(progress));
}

absl::StatusOr<LatentGeometry> ReadVideoGeometry(const std::string& folder) {
  ASSIGN_OR_RETURN(JsonConfig config, JsonConfig::Load(folder + "/config.json"));
  ASSIGN_OR_RETURN(const VaeClass kind, ClassOf(config));
  if (kind == VaeClass::kWan) {
    ASSIGN_OR_RETURN(const WanConfig wan, ReadWanConfig(std::move(config)));
    return wan.geometry();
  }
  ASSIGN_OR_RETURN(const Ltx2Config ltx2, ReadLtx2Config(std::move(config)));
  return ltx2.geometry();
}

}  // namespace longtake
