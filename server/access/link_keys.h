// Keys that viewing links are signed with, as an operator writes them.
#ifndef LONGTAKE_SERVER_ACCESS_LINK_KEYS_H_
#define LONGTAKE_SERVER_ACCESS_LINK_KEYS_H_

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace longtake::server {

class LinkKeys {
 public:
  using Signature = std::array<uint8_t, 32>;

  // Each line: a key in hexadecimal, of 32 bytes or more, for a shorter one could be found by trying; '#' begins a
  // comment. An error names `path` and the line, and says nothing of its content.
  static absl::StatusOr<LinkKeys> Parse(const std::string& path, const std::string& text);

  // HMAC-SHA256 by the first key.
  Signature Sign(absl::string_view message) const;
  // Whether any of the keys has signed it. Takes the same time for every signature: each is compared to its end.
  bool Verify(absl::string_view message, const Signature& signature) const;

 private:
  std::vector<std::string> keys_;  // bytes
};

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_ACCESS_LINK_KEYS_H_
