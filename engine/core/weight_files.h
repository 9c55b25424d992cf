// Finds the files of a folder that hold the weights of a model part.
#ifndef LONGTAKE_ENGINE_CORE_WEIGHT_FILES_H_
#define LONGTAKE_ENGINE_CORE_WEIGHT_FILES_H_

#include <map>
#include <set>
#include <string>

#include "absl/status/statusor.h"

namespace longtake {

struct WeightFiles {
  std::string path;  // of the index, or of the only file
  bool indexed = false;
  // File names within the folder. With an index, each has the tensors that the index assigns to it.
  std::map<std::string, std::set<std::string>> files;
};

// Finds the safetensors files of `stem` in `folder`: STEM.safetensors, or STEM.safetensors.index.json and the shards
// that it names. Without them, the only variant V is used: STEM.V.safetensors, or shards with an index named
// STEM.safetensors.index.V.json, STEM.index.V.json or STEM.V.safetensors.index.json.
//
// Errors list the files found: several variants, files of two saves in one folder (a single file and an index, or
// shards that the index does not name), shards without an index, or only other formats.
absl::StatusOr<WeightFiles> FindWeightFiles(const std::string& folder, const std::string& stem);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_CORE_WEIGHT_FILES_H_
