#include "engine/models/video/load.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "engine/core/json_config.h"
#include "engine/models/wan/vae.h"

namespace longtake {

absl::StatusOr<VideoVae> LoadVideoVae(const std::string& folder, VaeParts parts, Ops* ops, LoadProgress progress) {
  ASSIGN_OR_RETURN(JsonConfig config, JsonConfig::Load(folder + "/config.json"));
  const std::string name = config.String("_class_name", "");
  if (name == "AutoencoderKLWan") return LoadWanVae(folder, parts, ops, std::move(progress));
  config.Fail("_class_name",
              name.empty() ? "is missing" : absl::StrCat("is ", name.substr(0, 80), "; AutoencoderKLWan is supported"));
  return config.FirstError();
}

}  // namespace longtake
