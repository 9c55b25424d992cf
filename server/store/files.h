// Files of a directory store by their paths, with the system's errors as statuses.
#ifndef LONGTAKE_SERVER_STORE_FILES_H_
#define LONGTAKE_SERVER_STORE_FILES_H_

#include <cstdint>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace longtake::server {

// Of what is being written or removed. Names of the store's users do not end so.
inline constexpr char kUnfinished[] = ".unfinished";
// A folder that has a writer has a folder "writer-{token}.unfinished". What is written appears there first and is then
// renamed to its place; the next writer renames this folder, so that the former one's renames find nothing any more. A
// rename is atomic, so there is no moment at which both can finish a file.
inline constexpr char kWriter[] = "writer-";

// ResourceExhausted, NotFound or Unavailable: "store: {what} {path}: {the system's word}".
absl::Status SystemError(std::error_code error, const std::string& what, const std::string& path);
// What errno says of this path.
absl::Status SystemError(const std::string& what, const std::string& path);

std::string FolderOf(const std::string& path);

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  ~Descriptor();
  int get() const { return fd_; }

 private:
  int fd_;
};

absl::StatusOr<Descriptor> Open(const std::string& path, int flags);
absl::Status WriteAll(int fd, const std::string& bytes, const std::string& path);
absl::StatusOr<std::string> ReadAll(const std::string& path);
absl::Status SyncFolder(const std::string& folder);
// The file, or the folder with all that is in it.
absl::Status RemoveTree(const std::string& path);

std::string WriterFolder(const std::string& folder, uint64_t token);
// Makes the writer of this token the folder's only one, and removes what the one before did not finish. Aborted: there
// is one with a larger token.
absl::Status FenceFolder(const std::string& folder, uint64_t token);
// The Aborted of a writer that is one no longer.
absl::Status Fenced(const std::string& folder);

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_STORE_FILES_H_
