// An identity provider's public keys (JWKS, RFC 7517) and signatures by them.
#ifndef LONGTAKE_SERVER_ACCESS_JSON_WEB_KEYS_H_
#define LONGTAKE_SERVER_ACCESS_JSON_WEB_KEYS_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace longtake::server {

class JsonWebKeys {
 public:
  // Keys that are not for signatures, or of a kind that is not known, are passed over, as RFC 7517 asks. An error names
  // `path` and the key: an RSA key below 2048 bits, a private or symmetric key, or no key left.
  static absl::StatusOr<JsonWebKeys> Parse(const std::string& path, const std::string& text);

  // Whether the compact JWS `token` is signed by the key `kid` with `algorithm`; without a kid, by the only key that
  // `algorithm` can be of. RS, PS and ES with 256, 384 and 512, and EdDSA: none other, so that nothing without a
  // signature passes, and no public key is taken for the secret of an HMAC.
  bool Verify(const std::string& token, const std::string& algorithm, const std::string& kid) const;

 private:
  struct Key;
  std::vector<std::shared_ptr<const Key>> keys_;
};

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_ACCESS_JSON_WEB_KEYS_H_
