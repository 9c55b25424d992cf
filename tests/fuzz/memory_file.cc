#include "tests/fuzz/memory_file.h"

#include <sys/mman.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "tests/fuzz/check.h"

namespace longtake::fuzz {

MemoryFile::MemoryFile() : fd_(memfd_create("fuzz", MFD_CLOEXEC)), path_(absl::StrCat("/proc/self/fd/", fd_)) {
  Check(fd_ >= 0, "no file in memory can be made");
}

MemoryFile::~MemoryFile() { close(fd_); }

void MemoryFile::Write(std::string_view bytes) {
  Check(ftruncate(fd_, 0) == 0, "a file in memory cannot be truncated");
  for (size_t at = 0; at < bytes.size();) {
    const ssize_t n = pwrite(fd_, bytes.data() + at, bytes.size() - at, static_cast<off_t>(at));
    Check(n > 0, "a file in memory cannot be written");
    at += static_cast<size_t>(n);
  }
}

}  // namespace longtake::fuzz
