#include "engine/models/folder/new_packed_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "engine/ops/weights.h"

namespace longtake {
namespace {

// The header is written last and takes the file's beginning. The largest published model, SANA-Video 2.0 with 28
// layers, needs some 150 kB.
constexpr uint64_t kHeaderBytes = 1 << 20;
constexpr uint64_t kLengthBytes = 8;

}  // namespace

absl::StatusOr<std::unique_ptr<NewPackedFile>> NewPackedFile::Create(const std::string& path) {
  const std::string folder = std::filesystem::path(path).parent_path();
  const int fd = open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0644);
  if (fd < 0) return absl::ErrnoToStatus(errno, absl::StrCat(folder, ": no file can be made in it"));
  return std::unique_ptr<NewPackedFile>(new NewPackedFile(path, fd));
}

NewPackedFile::NewPackedFile(std::string path, int fd) : path_(std::move(path)), fd_(fd) {}

NewPackedFile::~NewPackedFile() { close(fd_); }

absl::Status NewPackedFile::Error(const char* what) const {
  return absl::ErrnoToStatus(errno, absl::StrCat(path_, ": ", what));
}

absl::Status NewPackedFile::Write(std::span<const std::byte> bytes, uint64_t at) {
  while (!bytes.empty()) {
    const ssize_t n = pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(at));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Error("cannot be written");
    bytes = bytes.subspan(static_cast<size_t>(n));
    at += static_cast<uint64_t>(n);
  }
  return absl::OkStatus();
}

absl::Status NewPackedFile::Add(const std::string& name, std::span<const std::byte> block) {
  constexpr uint64_t kAlignment = kBlockAlignment;
  const uint64_t begin = data_bytes_, padded = (block.size() + kAlignment - 1) / kAlignment * kAlignment;
  // The next block, or setting the size at last, fills the gap with zeros.
  RETURN_IF_ERROR(Write(block, kHeaderBytes + begin));
  data_bytes_ += padded;
  header_[name] = {{"dtype", "U8"}, {"shape", {padded}}, {"data_offsets", {begin, data_bytes_}}};
  return absl::OkStatus();
}

absl::Status NewPackedFile::Finish(const std::string& identity) {
  header_["__metadata__"] = {{"identity", identity}};
  std::string text = header_.dump();
  constexpr uint64_t kLength = kHeaderBytes - kLengthBytes;
  if (text.size() > kLength) {
    return absl::ResourceExhaustedError(absl::StrCat(path_, ": the header needs ", text.size(), " bytes"));
  }
  text.append(kLength - text.size(), ' ');
  if (ftruncate(fd_, static_cast<off_t>(kHeaderBytes + data_bytes_)) != 0) return Error("cannot be written");
  RETURN_IF_ERROR(Write(std::as_bytes(std::span(&kLength, 1)), 0));
  RETURN_IF_ERROR(Write(std::as_bytes(std::span(text)), kLengthBytes));
  if (fsync(fd_) != 0) return Error("cannot be written");
  // A link cannot replace a file, and a rename can.
  const std::string linked = absl::StrCat(path_, ".", getpid());
  const std::string from = absl::StrCat("/proc/self/fd/", fd_);
  if (linkat(AT_FDCWD, from.c_str(), AT_FDCWD, linked.c_str(), AT_SYMLINK_FOLLOW) != 0) return Error("cannot be named");
  if (std::rename(linked.c_str(), path_.c_str()) != 0) {
    const absl::Status error = Error("cannot be named");
    unlink(linked.c_str());
    return error;
  }
  return absl::OkStatus();
}

}  // namespace longtake
