#include "server/access/watched_file.h"

#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>

#include "absl/strings/str_cat.h"

namespace longtake::server {

std::optional<FileStamp> StampOf(const std::string& path) {
  struct stat found = {};
  if (stat(path.c_str(), &found) != 0) return std::nullopt;
  return FileStamp{.modified_ns = int64_t{found.st_mtim.tv_sec} * 1'000'000'000 + found.st_mtim.tv_nsec,
                   .size = found.st_size,
                   .inode = found.st_ino};
}

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (file && !file.bad()) return text;
  return absl::NotFoundError(
      absl::StrCat(path, ": cannot be read", errno != 0 ? absl::StrCat(": ", std::strerror(errno)) : ""));
}

}  // namespace longtake::server
