#include "common/random_bytes.h"

#include <sys/random.h>

#include <cerrno>
#include <cstdlib>

namespace longtake {

std::string RandomBytes(size_t count) {
  std::string bytes(count, '\0');
  // Up to 256 bytes come at once and whole, unless a signal comes while the kernel is starting.
  while (getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) {
    if (errno != EINTR) std::abort();  // a kernel without random numbers
  }
  return bytes;
}

}  // namespace longtake
