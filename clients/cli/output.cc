#include "clients/cli/output.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace longtake::client {

void Output::Fail() {
  if (!error_.empty()) return;
  error_ = absl::StrCat("cannot write ", to_stdout() ? "to standard output" : path_, ": ", std::strerror(errno));
}

void Output::Open() {
  file_ = to_stdout() ? STDOUT_FILENO : open(path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (file_ < 0) Fail();
}

void Output::Write(const std::string& bytes) {
  for (size_t at = 0; at < bytes.size() && error_.empty();) {
    const ssize_t written = write(file_, bytes.data() + at, bytes.size() - at);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) {
      Fail();
    } else {
      at += static_cast<size_t>(written);
    }
  }
}

void Output::Close() {
  if (file_ >= 0 && !to_stdout() && close(file_) != 0) Fail();
  file_ = -1;
}

}  // namespace longtake::client
