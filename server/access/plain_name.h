// What tenants and callers may be called.
#ifndef LONGTAKE_SERVER_ACCESS_PLAIN_NAME_H_
#define LONGTAKE_SERVER_ACCESS_PLAIN_NAME_H_

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/string_view.h"

namespace longtake::server {

// Whether the name is of 1 to 128 bytes without control characters, which would forge lines of the log.
inline bool IsPlainName(absl::string_view name) {
  return !name.empty() && name.size() <= 128 && std::none_of(name.begin(), name.end(), absl::ascii_iscntrl);
}

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_ACCESS_PLAIN_NAME_H_
