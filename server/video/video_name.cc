#include "server/video/video_name.h"

#include <sys/random.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"

namespace longtake::server {
namespace {

constexpr char kFolder[] = "videos/";

}  // namespace

std::string NewVideoName() {
  std::array<char, 16> bits = {};
  // Up to 256 bytes come at once and whole, unless a signal comes while the kernel is starting.
  while (getrandom(bits.data(), bits.size(), 0) != static_cast<ssize_t>(bits.size())) {
    if (errno != EINTR) std::abort();  // a kernel without random numbers
  }
  return absl::StrCat(kFolder, absl::BytesToHexString({bits.data(), bits.size()}));
}

bool IsVideoName(const std::string& name) {
  absl::string_view id = name;
  return absl::ConsumePrefix(&id, kFolder) && id.size() == 32 &&
         std::all_of(id.begin(), id.end(), [](char c) { return absl::ascii_isxdigit(c) && !absl::ascii_isupper(c); });
}

}  // namespace longtake::server
