// scheduler/scheduler_config.json of bidirectional folders.
#ifndef LONGTAKE_ENGINE_MODELS_FOLDER_SCHEDULER_CONFIG_H_
#define LONGTAKE_ENGINE_MODELS_FOLDER_SCHEDULER_CONFIG_H_

#include <optional>
#include <string_view>

#include "absl/status/status.h"
#include "engine/core/json_config.h"
#include "engine/models/folder/settings.h"

namespace longtake {

// The sampler of a diffusers class; nothing for a class that is not supported.
std::optional<SamplerKind> SamplerOfScheduler(std::string_view class_name);

// Options of UniPC by the scheduler's field names, which longtake.json uses too. Absent ones stay as they are.
void ReadUniPcOptions(JsonConfig& json, UniPcSettings& unipc);

// Takes the shift and the solver's options for settings->sampler. Fields that would change the result otherwise are
// refused by name. Absent fields have the class's defaults.
absl::Status ReadSchedulerConfig(JsonConfig json, ModelSettings* settings);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_FOLDER_SCHEDULER_CONFIG_H_
