// Packed weights of one module, kept in a file so that the next start needs no packing and processes share the memory.
//
// The file is in the safetensors format, `folder`/PART-KEY.safetensors: PART is the module's folder, KEY the hash of
// what its bytes depend on: the packer's layout and the identity of the weights' files (TensorStore::Identity). It is
// written while a module is loaded that has none yet, gets its name when it is complete and on the disk, and is never
// changed afterwards. A file that cannot be used is replaced. No error of the cache keeps a model from loading: they
// are logged.
#ifndef LONGTAKE_ENGINE_MODELS_FOLDER_PACKED_CACHE_H_
#define LONGTAKE_ENGINE_MODELS_FOLDER_PACKED_CACHE_H_

#include <cstddef>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/core/mapped_file.h"
#include "engine/core/safetensors.h"
#include "engine/models/folder/new_packed_file.h"
#include "engine/ops/weights.h"

namespace longtake {

class PackedCache {
 public:
  // Of the store's weights as `packer` packs them. Null: it has no cache, or restores nothing. The packer outlives it.
  static std::unique_ptr<PackedCache> Open(const WeightPacker& packer, const TensorStore& store);

  // A name of its own for the next kernel that is loaded: equal `what` in a later call gives another name. A module is
  // loaded in the same order every time.
  std::string Name(const std::string& what);
  // The blocks kept under the name. Empty: there are none; then Keep them.
  std::vector<PackedBlock> Find(const std::string& name);
  void Keep(const std::string& name, std::span<const std::span<const std::byte>> blocks);
  // What Find has returned is not what the packer needs.
  void Discard() { incomplete_ = true; }
  // The module has been loaded.
  void Finish();

 private:
  PackedCache(const PackedCacheOptions& options, std::string path, std::string identity);
  // Reads the file if there is one. An error says why it cannot be used.
  absl::Status Read();
  void Log(const std::string& line) const;

  const PackedCacheOptions& options_;
  const std::string path_, identity_;
  std::map<std::string, int> uses_;  // of what Name was given
  std::shared_ptr<const MappedFile> file_;
  std::map<std::string, std::vector<PackedBlock>> blocks_;  // of file_, by name
  bool incomplete_ = false;                                 // file_ lacks what was asked for
  std::unique_ptr<NewPackedFile> written_;                  // null: there is a file, or none can be written
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_FOLDER_PACKED_CACHE_H_
