// Reads the fields of longtake.json. families/*.json has the same fields.
#ifndef LONGTAKE_ENGINE_MODELS_FOLDER_SETTINGS_FIELDS_H_
#define LONGTAKE_ENGINE_MODELS_FOLDER_SETTINGS_FIELDS_H_

#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/core/json_config.h"
#include "engine/models/folder/settings.h"
#include "nlohmann/json.hpp"

namespace longtake {

// Applies the family's defaults, which may set fields of any sampler. Returns the family's sampler, if it has one. An
// error means that the data compiled into this build is wrong.
absl::StatusOr<std::optional<SamplerKind>> ApplyFamily(Family family, ModelSettings* settings);

// Applies longtake.json. settings->sampler must be set: fields that only other samplers have are refused.
absl::Status OverlayLongtakeJson(JsonConfig json, ModelSettings* settings);

// Returns all settings in the form of a longtake.json that would set them.
nlohmann::ordered_json ToJson(const ModelSettings& settings);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_FOLDER_SETTINGS_FIELDS_H_
