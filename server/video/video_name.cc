#include "server/video/video_name.h"

#include <sys/random.h>

#include <array>
#include <cerrno>
#include <cstdlib>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace longtake::server {

std::string NewVideoName() {
  std::array<char, 16> bits = {};
  // Up to 256 bytes come at once and whole, unless a signal comes while the kernel is starting.
  while (getrandom(bits.data(), bits.size(), 0) != static_cast<ssize_t>(bits.size())) {
    if (errno != EINTR) std::abort();  // a kernel without random numbers
  }
  return absl::StrCat("videos/", absl::BytesToHexString({bits.data(), bits.size()}));
}

}  // namespace longtake::server
