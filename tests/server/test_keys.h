// Keys, certificates and signed tokens that tests make for themselves.
#ifndef LONGTAKE_TESTS_SERVER_TEST_KEYS_H_
#define LONGTAKE_TESTS_SERVER_TEST_KEYS_H_

#include <openssl/evp.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <string>

namespace longtake::server {

class TestKey {
 public:
  // "RSA" (2048 bits, or `bits`), "P-256" or "Ed25519".
  explicit TestKey(const std::string& kind, int bits = 2048);

  EVP_PKEY* get() const { return key_.get(); }
  // Of the public part, as in a JWKS file.
  nlohmann::json Jwk(const std::string& kid) const;
  // The private part.
  std::string Pem() const;
  // A compact JWS of these parts. `algorithm` only says how to sign: the header says what it likes.
  std::string Sign(const nlohmann::json& header, const nlohmann::json& claims, const std::string& algorithm) const;

 private:
  std::string kind_;
  std::shared_ptr<EVP_PKEY> key_;
};

// A token that is "signed" with a shared secret.
std::string SignHmac(const nlohmann::json& header, const nlohmann::json& claims, const std::string& secret);
// header.claims of a token, which is signed.
std::string SigningInput(const nlohmann::json& header, const nlohmann::json& claims);
std::string Sha256Hex(const std::string& text);

// A certificate of `key` as PEM, signed by `issuer_key` in the name of `issuer`, or by itself. Valid from a day ago to
// a day ahead. For "localhost", 127.0.0.1 and `dns`.
struct Subject {
  std::string organisation, name;
  std::string dns = {};
};
std::string MakeCertificate(const TestKey& key, const Subject& subject, const TestKey& issuer_key,
                            const Subject& issuer, bool authority = false);

}  // namespace longtake::server

#endif  // LONGTAKE_TESTS_SERVER_TEST_KEYS_H_
