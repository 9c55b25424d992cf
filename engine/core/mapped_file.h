// A file in memory that processes share: for files that nobody changes, because an access to a page that has been
// truncated raises SIGBUS. Files of others are read instead (input_file.h).
#ifndef LONGTAKE_ENGINE_CORE_MAPPED_FILE_H_
#define LONGTAKE_ENGINE_CORE_MAPPED_FILE_H_

#include <cstddef>
#include <memory>
#include <span>

#include "absl/status/statusor.h"
#include "engine/core/input_file.h"

namespace longtake {

class MappedFile {
 public:
  // Maps all of the file, for reading. Errors name it. The system begins to read it; the call does not wait for that.
  static absl::StatusOr<std::shared_ptr<const MappedFile>> Map(const InputFile& file);

  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return bytes_; }  // begins at a page

 private:
  explicit MappedFile(std::span<const std::byte> bytes) : bytes_(bytes) {}

  const std::span<const std::byte> bytes_;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_CORE_MAPPED_FILE_H_
