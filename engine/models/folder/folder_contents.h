// What the files of a model folder say it is, and the family that follows.
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

// Class names are those of model_index.json and of the parts' own config.json, which agree; "" where no file names one.
struct FolderContents {
  std::string folder;
  std::string pipeline, transformer, vae, scheduler;
  int64_t sample_size = 30;                    // of transformer/config.json; absent there: the class's default
  std::optional<JsonConfig> settings;          // longtake.json
  std::optional<Family> named_family;          // its `family`
  std::optional<SamplerKind> named_sampler;    // its `sampler`
  std::optional<JsonConfig> scheduler_config;  // scheduler/scheduler_config.json
};

// Reads what is there of model_index.json, longtake.json, scheduler/scheduler_config.json, transformer/config.json and
// vae/config.json. Errors name the file, and the field where classes are unknown or two files disagree.
absl::StatusOr<FolderContents> ReadFolderContents(const std::string& folder);

// The family, by the first of these that holds:
//   longtake.json's `family`, which nothing else may contradict;
//   the causal transformer's class: LongSANA;
//   longtake.json's `sampler` is few_step: ours;
//   a flow sampler, named by longtake.json or by the scheduler's class: SANA-Video, 480p where
//   transformer/config.json's sample_size is 30, 720p where it is 22.
// A folder of which none holds, or that contradicts its family, is refused by file and field.
absl::StatusOr<Family> IdentifyFamily(const FolderContents& contents);

// The sampler: longtake.json's, else the scheduler's, else the family's `by_default`.
absl::StatusOr<SamplerKind> IdentifySampler(const FolderContents& contents, Family family,
                                            std::optional<SamplerKind> by_default);

// Whether anything has that name. A link that leads nowhere is something: opening it gives the error.
bool PathExists(const std::string& path);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_FOLDER_FOLDER_CONTENTS_H_
