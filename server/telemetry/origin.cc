#include "server/telemetry/origin.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "common/random_bytes.h"

namespace longtake::server {

std::string RequestIdFrom(absl::string_view given) {
  constexpr size_t kLongest = 64;
  const auto allowed = [](char c) { return absl::ascii_isalnum(c) || c == '-' || c == '_' || c == '.'; };
  if (!given.empty() && given.size() <= kLongest && std::all_of(given.begin(), given.end(), allowed)) {
    return std::string(given);
  }
  return absl::BytesToHexString(RandomBytes(8));
}

}  // namespace longtake::server
