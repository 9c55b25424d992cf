#include "server/store/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "common/status_macros.h"

namespace longtake::server {
namespace {

namespace fs = std::filesystem;

// The tokens of the folder's writers: one, but for the moments in which Fence changes them.
absl::StatusOr<std::vector<uint64_t>> WritersOf(const std::string& folder) {
  std::vector<uint64_t> tokens;
  std::error_code error;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    const std::string name = at->path().filename();
    absl::string_view text = name;
    uint64_t token = 0;
    if (absl::ConsumePrefix(&text, kWriter) && absl::ConsumeSuffix(&text, kUnfinished) &&
        absl::SimpleAtoi(text, &token)) {
      tokens.push_back(token);
    }
  }
  if (error) return SystemError(error, "cannot list", folder);
  std::sort(tokens.begin(), tokens.end());
  return tokens;
}

}  // namespace

absl::Status SystemError(std::error_code error, const std::string& what, const std::string& path) {
  const std::string message = absl::StrCat("store: ", what, " ", path, ": ", error.message());
  switch (error.value()) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
    case EMFILE:
    case ENFILE:
    case ENOMEM:
      return absl::ResourceExhaustedError(message);
    case ENOENT:
      return absl::NotFoundError(message);
    default:
      return absl::UnavailableError(message);
  }
}

absl::Status SystemError(const std::string& what, const std::string& path) {
  return SystemError({errno, std::generic_category()}, what, path);
}

std::string FolderOf(const std::string& path) { return path.substr(0, path.rfind('/')); }

Descriptor::~Descriptor() {
  if (fd_ >= 0) close(fd_);
}

absl::StatusOr<Descriptor> Open(const std::string& path, int flags) {
  Descriptor file(open(path.c_str(), flags | O_CLOEXEC, 0600));
  if (file.get() < 0) return SystemError("cannot open", path);
  return file;
}

absl::Status WriteAll(int fd, const std::string& bytes, const std::string& path) {
  for (size_t written = 0; written < bytes.size();) {
    const ssize_t n = write(fd, bytes.data() + written, bytes.size() - written);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return SystemError("cannot write", path);
    written += static_cast<size_t>(n);
  }
  return absl::OkStatus();
}

absl::Status SyncFolder(const std::string& folder) {
  ASSIGN_OR_RETURN(const Descriptor file, Open(folder, O_RDONLY | O_DIRECTORY));
  if (fsync(file.get()) != 0) return SystemError("cannot sync", folder);
  return absl::OkStatus();
}

absl::StatusOr<std::string> ReadAll(const std::string& path) {
  ASSIGN_OR_RETURN(const Descriptor file, Open(path, O_RDONLY));
  struct stat info {};
  if (fstat(file.get(), &info) != 0) return SystemError("cannot read", path);
  std::string bytes(static_cast<size_t>(info.st_size), '\0');
  for (size_t at = 0; at < bytes.size();) {
    const ssize_t n = read(file.get(), bytes.data() + at, bytes.size() - at);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return SystemError("cannot read", path);
    if (n == 0) return absl::UnavailableError(absl::StrCat("store: ", path, " became shorter while it was read"));
    at += static_cast<size_t>(n);
  }
  return bytes;
}

std::string WriterFolder(const std::string& folder, uint64_t token) {
  return absl::StrCat(folder, "/", kWriter, token, kUnfinished);
}

absl::Status Fenced(const std::string& folder) {
  return absl::AbortedError(absl::StrCat("store: ", folder, ": another server writes it now, or it was removed"));
}

absl::Status RemoveTree(const std::string& path) {
  std::error_code error;
  fs::remove_all(path, error);
  return error ? SystemError(error, "cannot remove", path) : absl::OkStatus();
}

absl::Status FenceFolder(const std::string& folder, uint64_t token) {
  const std::string mine = WriterFolder(folder, token);
  while (true) {
    ASSIGN_OR_RETURN(const std::vector<uint64_t> writers, WritersOf(folder));
    if (!writers.empty() && writers.back() > token) {
      RETURN_IF_ERROR(RemoveTree(mine));  // where two made one at once
      return Fenced(folder);
    }
    if (writers.size() == 1 && writers.back() == token) break;
    if (writers.empty()) {
      if (mkdir(mine.c_str(), 0700) != 0 && errno != EEXIST) return SystemError("cannot make", mine);
    } else if (writers.back() == token) {
      RETURN_IF_ERROR(RemoveTree(WriterFolder(folder, writers.front())));
    } else if (rename(WriterFolder(folder, writers.back()).c_str(), mine.c_str()) != 0 && errno != ENOENT) {
      return SystemError("cannot rename to", mine);
    }
  }
  // What the one before did not finish.
  std::error_code error;
  for (const fs::directory_entry& left : fs::directory_iterator(mine, error)) RETURN_IF_ERROR(RemoveTree(left.path()));
  if (error == std::errc::no_such_file_or_directory) return Fenced(folder);  // by the next one, in this moment
  if (error) return SystemError(error, "cannot list", mine);
  return SyncFolder(folder);
}

}  // namespace longtake::server
