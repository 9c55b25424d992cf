// Reads scheduler/scheduler_config.json of bidirectional models.
#ifndef LONGTAKE_ENGINE_MODELS_FOLDER_SCHEDULER_CONFIG_H_
#define LONGTAKE_ENGINE_MODELS_FOLDER_SCHEDULER_CONFIG_H_

#include <optional>
#include <string_view>

#include "absl/status/status.h"
#include "engine/core/json_config.h"
#include "engine/models/folder/settings.h"

namespace longtake {

// Returns the sampler that a diffusers class implements; nullopt if the class is not supported.
std::optional<SamplerKind> SamplerOfScheduler(std::string_view class_name);

// Reads UniPC's options, which have the same names in the scheduler's config and in longtake.json. Absent options keep
// their values.
void ReadUniPcOptions(JsonConfig& json, UniPcSettings& unipc);

// Reads the shift and the options of settings->sampler. Other fields that would change the result are refused by name.
// Absent fields have the class's defaults.
absl::Status ReadSchedulerConfig(JsonConfig json, ModelSettings* settings);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_FOLDER_SCHEDULER_CONFIG_H_
