#include "server/video/video_name.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/random_bytes.h"

namespace longtake::server {
namespace {

constexpr size_t kBytes = 16;

}  // namespace

std::string NewVideoName() { return absl::StrCat("videos/", absl::BytesToHexString(RandomBytes(kBytes))); }

bool IsVideoName(absl::string_view text) {
  return absl::ConsumePrefix(&text, "videos/") && text.size() == 2 * kBytes &&
         std::all_of(text.begin(), text.end(),
                     [](char c) { return absl::ascii_isxdigit(c) && !absl::ascii_isupper(c); });
}

}  // namespace longtake::server
