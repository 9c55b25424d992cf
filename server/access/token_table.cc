#include "server/access/token_table.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "server/access/plain_name.h"

namespace longtake::server {
namespace {

// In other bytes than ASCII's an editor's encoding would decide which tenant is meant.
bool IsName(const std::string& name) {
  return IsPlainName(name) && std::all_of(name.begin(), name.end(), absl::ascii_isgraph);
}

}  // namespace

absl::StatusOr<TokenTable> TokenTable::Parse(const std::string& path, const std::string& text) {
  TokenTable table;
  int number = 0;
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    ++number;
    const auto error = [&](const char* what) {
      return absl::InvalidArgumentError(absl::StrCat(path, ": line ", number, ": ", what));
    };
    const absl::string_view content = line.substr(0, line.find('#'));
    const std::vector<std::string> words = absl::StrSplit(content, absl::ByAnyChar(" \t\r"), absl::SkipEmpty());
    if (words.empty()) continue;
    if (words.size() != 3) return error("is not of three words: tenant, name, SHA-256 of the token");
    if (!IsName(words[0])) return error("the tenant is not of at most 128 printable characters of ASCII");
    if (!IsName(words[1])) return error("the name is not of at most 128 printable characters of ASCII");
    if (words[2].size() != 2 * Sum().size() || !std::all_of(words[2].begin(), words[2].end(), absl::ascii_isxdigit)) {
      return error("the SHA-256 is not of 64 hexadecimal digits");
    }
    Entry entry{.identity = {.tenant = {words[0]}, .name = words[1]}};
    const std::string bytes = absl::HexStringToBytes(words[2]);
    std::copy(bytes.begin(), bytes.end(), entry.sum.begin());
    for (const Entry& other : table.entries_) {
      if (other.sum == entry.sum) return error("the token is that of a line before");
    }
    table.entries_.push_back(std::move(entry));
  }
  return table;
}

std::optional<Identity> TokenTable::Find(absl::string_view token) const {
  Sum sum;
  SHA256(reinterpret_cast<const uint8_t*>(token.data()), token.size(), sum.data());
  const Entry* found = nullptr;
  for (const Entry& entry : entries_) {
    if (CRYPTO_memcmp(entry.sum.data(), sum.data(), sum.size()) == 0) found = &entry;
  }
  return found == nullptr ? std::nullopt : std::optional(found->identity);
}

}  // namespace longtake::server
