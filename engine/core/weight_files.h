// Which files of a folder hold the weights of a model part.
#ifndef LONGTAKE_ENGINE_CORE_WEIGHT_FILES_H_
#define LONGTAKE_ENGINE_CORE_WEIGHT_FILES_H_

#include <map>
#include <set>
#include <string>

#include "absl/status/statusor.h"

namespace longtake {

struct WeightFiles {
  std::string path;  // the index, or the only file
  bool indexed = false;
  // File names within the folder. With an index: the tensors that it says each of them holds.
  std::map<std::string, std::set<std::string>> files;
};

// The safetensors files of `stem` in `folder`: STEM.safetensors, or STEM.safetensors.index.json and the shards that it
// names. Without them a variant V, if it is the only one: STEM.V.safetensors, or shards with an index in any of the
// spellings STEM.safetensors.index.V.json, STEM.index.V.json, STEM.V.safetensors.index.json.
//
// An error says what was found: several variants, files of two saves beside each other (a single file and an index, or
// shards that the index does not name), shards without an index, other formats only.
absl::StatusOr<WeightFiles> FindWeightFiles(const std::string& folder, const std::string& stem);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_CORE_WEIGHT_FILES_H_
