// Reads what a model folder's files state about the model, and derives its family and sampler.
#ifndef LONGTAKE_ENGINE_MODELS_FOLDER_FOLDER_CONTENTS_H_
#define LONGTAKE_ENGINE_MODELS_FOLDER_FOLDER_CONTENTS_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "engine/core/json_config.h"
#include "engine/models/folder/family.h"
#include "engine/models/folder/settings.h"

namespace longtake {

// Class names come from model_index.json and the parts' own config.json, which must agree; "" if no file names one.
struct FolderContents {
  std::string folder;
  std::string pipeline, transformer, vae, scheduler;
  int64_t sample_size = 30;                    // of transformer/config.json; if absent, the class's default
  std::optional<JsonConfig> settings;          // longtake.json
  std::optional<Family> named_family;          // its `family`
  std::optional<SamplerKind> named_sampler;    // its `sampler`
  std::optional<JsonConfig> scheduler_config;  // scheduler/scheduler_config.json
};

// Reads those of model_index.json, longtake.json, scheduler/scheduler_config.json, transformer/config.json and
// vae/config.json that exist. Errors name the file, and the field if a class is unknown or two files disagree.
absl::StatusOr<FolderContents> ReadFolderContents(const std::string& folder);

// Returns the family by the first of these rules that applies:
// - longtake.json has `family`; the other files must not contradict it.
// - The transformer's class is the causal one: LongSANA.
// - longtake.json's `sampler` is few_step: longtake.
// - longtake.json or the scheduler's class names a flow sampler: SANA-Video, 480p if transformer/config.json's
//   sample_size is 30, 720p if it is 22.
// If no rule applies, or a file contradicts the family, the error names file and field.
absl::StatusOr<Family> IdentifyFamily(const FolderContents& contents);

// Returns the sampler of longtake.json, else that of the scheduler, else the family's `by_default`.
absl::StatusOr<SamplerKind> IdentifySampler(const FolderContents& contents, Family family,
                                            std::optional<SamplerKind> by_default);

// True if the path exists. A dangling link counts as existing, so that opening it gives the error.
bool PathExists(const std::string& path);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_FOLDER_FOLDER_CONTENTS_H_
