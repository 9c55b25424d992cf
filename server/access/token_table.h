// Bearer tokens that an operator hands out: a file of their SHA-256 sums, so that reading the file gives nobody a
// token.
#ifndef LONGTAKE_SERVER_ACCESS_TOKEN_TABLE_H_
#define LONGTAKE_SERVER_ACCESS_TOKEN_TABLE_H_

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/access/access.h"

namespace longtake::server {

class TokenTable {
 public:
  using Sum = std::array<uint8_t, 32>;

  // Each line: tenant, name and the sum in hexadecimal, with blanks between; '#' begins a comment. An error names
  // `path` and the line, and says nothing of its content.
  static absl::StatusOr<TokenTable> Parse(const std::string& path, const std::string& text);

  // Whose token it is. Takes the same time for every token: each sum is compared to its end.
  std::optional<Identity> Find(absl::string_view token) const;

 private:
  struct Entry {
    Sum sum = {};
    Identity identity;
  };
  std::vector<Entry> entries_;
};

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_ACCESS_TOKEN_TABLE_H_
