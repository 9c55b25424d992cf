#include "engine/core/input_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"

namespace longtake {

absl::StatusOr<InputFile> InputFile::Open(const std::string& path) {
  // Without O_NONBLOCK, opening a pipe blocks until another process opens it for writing.
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return absl::ErrnoToStatus(errno, absl::StrCat(path, ": cannot be opened"));
  struct stat info;
  if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
    close(fd);
    return absl::InvalidArgumentError(absl::StrCat(path, ": is not a regular file"));
  }
  const int64_t modified_ns = int64_t{info.st_mtim.tv_sec} * 1'000'000'000 + info.st_mtim.tv_nsec;
  return InputFile(path, fd, static_cast<uint64_t>(info.st_size), modified_ns);
}

InputFile::InputFile(std::string path, int fd, uint64_t size, int64_t modified_ns)
    : path_(std::move(path)), fd_(fd), size_(size), modified_ns_(modified_ns) {}

InputFile::InputFile(InputFile&& other) noexcept
    : path_(std::move(other.path_)),
      fd_(std::exchange(other.fd_, -1)),
      size_(other.size_),
      modified_ns_(other.modified_ns_) {}

InputFile& InputFile::operator=(InputFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(fd_, other.fd_);
  std::swap(size_, other.size_);
  std::swap(modified_ns_, other.modified_ns_);
  return *this;
}

InputFile::~InputFile() {
  if (fd_ >= 0) close(fd_);
}

absl::Status InputFile::Read(uint64_t offset, uint64_t bytes, void* to) const {
  constexpr uint64_t kMostAtOnce = uint64_t{1} << 30;  // one call reads less than 2 GiB
  auto* at = static_cast<char*>(to);
  while (bytes > 0) {
    const ssize_t n = pread(fd_, at, std::min(bytes, kMostAtOnce), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return absl::ErrnoToStatus(errno, absl::StrCat(path_, ": cannot be read"));
    if (n == 0) {
      return absl::DataLossError(
          absl::StrCat(path_, ": has become shorter while it was read; replace files by renaming"));
    }
    at += n;
    offset += static_cast<uint64_t>(n);
    bytes -= static_cast<uint64_t>(n);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> InputFile::ReadAll(uint64_t max_bytes) const {
  if (size_ > max_bytes) {
    return absl::InvalidArgumentError(absl::StrCat(path_, ": has ", size_, " bytes, more than ", max_bytes));
  }
  std::string bytes(size_, '\0');
  RETURN_IF_ERROR(Read(0, size_, bytes.data()));
  return bytes;
}

}  // namespace longtake
