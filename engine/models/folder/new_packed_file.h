// Writes a file of packed weights (packed_cache.h) that exists only once it is complete.
#ifndef LONGTAKE_ENGINE_MODELS_FOLDER_NEW_PACKED_FILE_H_
#define LONGTAKE_ENGINE_MODELS_FOLDER_NEW_PACKED_FILE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"

namespace longtake {

class NewPackedFile {
 public:
  // The file has no name before Finish, so nothing of it is left if the process ends earlier.
  static absl::StatusOr<std::unique_ptr<NewPackedFile>> Create(const std::string& path);
  NewPackedFile(const NewPackedFile&) = delete;
  NewPackedFile& operator=(const NewPackedFile&) = delete;
  ~NewPackedFile();

  // Adds the tensor `name` of bytes, with zeros behind it up to a multiple of kBlockAlignment.
  absl::Status Add(const std::string& name, std::span<const std::byte> block);
  // Writes the header, waits for the disk, and gives the file its name, in place of a file that has it.
  absl::Status Finish(const std::string& identity);

 private:
  NewPackedFile(std::string path, int fd);
  absl::Status Write(std::span<const std::byte> bytes, uint64_t at);
  absl::Status Error(const char* what) const;  // of errno

  const std::string path_;
  const int fd_;
  uint64_t data_bytes_ = 0;
  nlohmann::json header_ = nlohmann::json::object();
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_FOLDER_NEW_PACKED_FILE_H_
