// A file mapped read-only into memory.
#ifndef LONGTAKE_ENGINE_CORE_MAPPED_FILE_H_
#define LONGTAKE_ENGINE_CORE_MAPPED_FILE_H_

#include <cstddef>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace longtake {

class MappedFile {
 public:
  // NotFound or Internal, naming the file. An empty file maps to no bytes.
  static absl::StatusOr<MappedFile> Open(const std::string& path);

  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  const std::string& path() const { return path_; }
  std::string_view bytes() const { return {data_, size_}; }

 private:
  MappedFile(std::string path, const char* data, size_t size);

  std::string path_;
  const char* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_CORE_MAPPED_FILE_H_
