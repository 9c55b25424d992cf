// The fields of longtake.json, which are those of families/*.json too.
#ifndef LONGTAKE_ENGINE_MODELS_FOLDER_SETTINGS_FIELDS_H_
#define LONGTAKE_ENGINE_MODELS_FOLDER_SETTINGS_FIELDS_H_

#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/core/json_config.h"
#include "engine/models/folder/settings.h"
#include "nlohmann/json.hpp"

namespace longtake {

// Replaces what the family's data sets, the fields of every sampler among it. Returns the family's sampler, if it has
// one. An error means that the data of this build is wrong.
absl::StatusOr<std::optional<SamplerKind>> ApplyFamily(Family family, ModelSettings* settings);

// Replaces what longtake.json sets. settings->sampler is settled: fields that only other samplers have are refused.
absl::Status OverlayLongtakeJson(JsonConfig json, ModelSettings* settings);

// All settings, as a longtake.json that would set them.
nlohmann::ordered_json ToJson(const ModelSettings& settings);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_FOLDER_SETTINGS_FIELDS_H_
