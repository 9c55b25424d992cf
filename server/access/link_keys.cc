#include "server/access/link_keys.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace longtake::server {
namespace {

constexpr size_t kMinBytes = 32;  // as long as the hash: RFC 2104 discourages shorter ones

LinkKeys::Signature Hmac(const std::string& key, absl::string_view message) {
  LinkKeys::Signature out;
  HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), reinterpret_cast<const uint8_t*>(message.data()),
       message.size(), out.data(), nullptr);
  return out;
}

}  // namespace

absl::StatusOr<LinkKeys> LinkKeys::Parse(const std::string& path, const std::string& text) {
  LinkKeys keys;
  int number = 0;
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    ++number;
    const auto error = [&](const char* what) {
      return absl::InvalidArgumentError(absl::StrCat(path, ": line ", number, ": ", what));
    };
    const absl::string_view digits = absl::StripAsciiWhitespace(line.substr(0, line.find('#')));
    if (digits.empty()) continue;
    if (digits.size() % 2 != 0 || !std::all_of(digits.begin(), digits.end(), absl::ascii_isxdigit)) {
      return error("is no key in hexadecimal digits");
    }
    if (digits.size() < 2 * kMinBytes) return error("the key is shorter than 32 bytes, 64 hexadecimal digits");
    std::string key = absl::HexStringToBytes(digits);
    if (std::find(keys.keys_.begin(), keys.keys_.end(), key) != keys.keys_.end()) {
      return error("the key is that of a line before");
    }
    keys.keys_.push_back(std::move(key));
  }
  if (keys.keys_.empty()) return absl::InvalidArgumentError(absl::StrCat(path, ": has no key"));
  return keys;
}

LinkKeys::Signature LinkKeys::Sign(absl::string_view message) const { return Hmac(keys_.front(), message); }

bool LinkKeys::Verify(absl::string_view message, const Signature& signature) const {
  bool found = false;
  for (const std::string& key : keys_) {
    const Signature expected = Hmac(key, message);
    found |= CRYPTO_memcmp(expected.data(), signature.data(), expected.size()) == 0;
  }
  return found;
}

}  // namespace longtake::server
