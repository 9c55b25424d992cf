// Files that are read, not memory-mapped: if another process truncates a mapped file, accessing it raises SIGBUS.
#ifndef LONGTAKE_ENGINE_CORE_INPUT_FILE_H_
#define LONGTAKE_ENGINE_CORE_INPUT_FILE_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace longtake {

// A regular file, open for reading.
class InputFile {
 public:
  // An error names the file. Anything but a regular file is refused; opening a pipe does not block.
  static absl::StatusOr<InputFile> Open(const std::string& path);

  InputFile(InputFile&& other) noexcept;
  InputFile& operator=(InputFile&& other) noexcept;
  ~InputFile();

  const std::string& path() const { return path_; }
  uint64_t size() const { return size_; }               // in bytes, when it was opened
  int64_t modified_ns() const { return modified_ns_; }  // since 1970, when it was opened
  int descriptor() const { return fd_; }

  // Copies bytes [offset, offset + bytes) to `to`. DataLoss: the file has been truncated since it was opened.
  absl::Status Read(uint64_t offset, uint64_t bytes, void* to) const;
  // Reads the whole file. InvalidArgument: it has more than `max_bytes`.
  absl::StatusOr<std::string> ReadAll(uint64_t max_bytes) const;

 private:
  InputFile(std::string path, int fd, uint64_t size, int64_t modified_ns);

  std::string path_;
  int fd_ = -1;
  uint64_t size_ = 0;
  int64_t modified_ns_ = 0;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_CORE_INPUT_FILE_H_
