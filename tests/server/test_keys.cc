#include "tests/server/test_keys.h"

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/sha.h>
#include <openssl/x509v3.h>

#include <array>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace longtake::server {
namespace {

std::string Base64(const std::string& bytes) { return absl::WebSafeBase64Escape(bytes); }

std::string Number(EVP_PKEY* key, const char* parameter, int size = 0) {
  BIGNUM* number = nullptr;
  EVP_PKEY_get_bn_param(key, parameter, &number);
  std::string bytes(size > 0 ? size : BN_num_bytes(number), '\0');
  BN_bn2binpad(number, reinterpret_cast<uint8_t*>(bytes.data()), static_cast<int>(bytes.size()));
  BN_free(number);
  return Base64(bytes);
}

std::string TextOf(BIO* bytes) {
  char* data = nullptr;
  const int64_t size = BIO_get_mem_data(bytes, &data);
  std::string text(data, size);
  BIO_free(bytes);
  return text;
}

void SetName(X509_NAME* name, const Subject& subject) {
  const auto add = [name](const char* field, const std::string& value) {
    if (value.empty()) return;
    X509_NAME_add_entry_by_txt(name, field, MBSTRING_UTF8, reinterpret_cast<const uint8_t*>(value.data()),
                               static_cast<int>(value.size()), -1, 0);
  };
  add("O", subject.organisation);
  add("CN", subject.name);
}

void AddExtension(X509* certificate, int kind, const char* value) {
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, nullptr, kind, value);
  X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
}

}  // namespace

TestKey::TestKey(const std::string& kind, int bits) : kind_(kind) {
  EVP_PKEY* made = kind == "RSA"     ? EVP_PKEY_Q_keygen(nullptr, nullptr, "RSA", static_cast<size_t>(bits))
                   : kind == "P-256" ? EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-256")
                                     : EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519");
  key_.reset(made, EVP_PKEY_free);
}

nlohmann::json TestKey::Jwk(const std::string& kid) const {
  nlohmann::json jwk = {{"kid", kid}, {"use", "sig"}};
  if (kind_ == "RSA") {
    jwk["kty"] = "RSA";
    jwk["n"] = Number(get(), OSSL_PKEY_PARAM_RSA_N);
    jwk["e"] = Number(get(), OSSL_PKEY_PARAM_RSA_E);
  } else if (kind_ == "P-256") {
    jwk["kty"] = "EC";
    jwk["crv"] = "P-256";
    jwk["x"] = Number(get(), OSSL_PKEY_PARAM_EC_PUB_X, 32);
    jwk["y"] = Number(get(), OSSL_PKEY_PARAM_EC_PUB_Y, 32);
  } else {
    std::array<uint8_t, 32> bytes;
    size_t size = bytes.size();
    EVP_PKEY_get_raw_public_key(get(), bytes.data(), &size);
    jwk["kty"] = "OKP";
    jwk["crv"] = "Ed25519";
    jwk["x"] = Base64(std::string(bytes.begin(), bytes.end()));
  }
  return jwk;
}

std::string TestKey::Pem() const {
  BIO* bytes = BIO_new(BIO_s_mem());
  PEM_write_bio_PrivateKey(bytes, get(), nullptr, nullptr, 0, nullptr, nullptr);
  return TextOf(bytes);
}

std::string SigningInput(const nlohmann::json& header, const nlohmann::json& claims) {
  return absl::StrCat(Base64(header.dump()), ".", Base64(claims.dump()));
}

std::string TestKey::Sign(const nlohmann::json& header, const nlohmann::json& claims,
                          const std::string& algorithm) const {
  const std::string input = SigningInput(header, claims);
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  EVP_PKEY_CTX* settings = nullptr;
  EVP_DigestSignInit(context, &settings, algorithm == "EdDSA" ? nullptr : EVP_sha256(), nullptr, get());
  if (algorithm == "PS256") {
    EVP_PKEY_CTX_set_rsa_padding(settings, RSA_PKCS1_PSS_PADDING);
    EVP_PKEY_CTX_set_rsa_pss_saltlen(settings, RSA_PSS_SALTLEN_DIGEST);
  }
  size_t size = 0;
  const auto* bytes = reinterpret_cast<const uint8_t*>(input.data());
  EVP_DigestSign(context, nullptr, &size, bytes, input.size());
  std::string signature(size, '\0');
  EVP_DigestSign(context, reinterpret_cast<uint8_t*>(signature.data()), &size, bytes, input.size());
  EVP_MD_CTX_free(context);
  signature.resize(size);
  if (algorithm == "ES256") {  // OpenSSL has the two numbers as DER, JWS one after the other
    const auto* der = reinterpret_cast<const uint8_t*>(signature.data());
    ECDSA_SIG* pair = d2i_ECDSA_SIG(nullptr, &der, static_cast<int64_t>(signature.size()));
    std::string plain(64, '\0');
    BN_bn2binpad(ECDSA_SIG_get0_r(pair), reinterpret_cast<uint8_t*>(plain.data()), 32);
    BN_bn2binpad(ECDSA_SIG_get0_s(pair), reinterpret_cast<uint8_t*>(plain.data()) + 32, 32);
    ECDSA_SIG_free(pair);
    signature = plain;
  }
  return absl::StrCat(input, ".", Base64(signature));
}

std::string SignHmac(const nlohmann::json& header, const nlohmann::json& claims, const std::string& secret) {
  const std::string input = SigningInput(header, claims);
  std::array<uint8_t, 32> sum;
  HMAC(EVP_sha256(), secret.data(), static_cast<int>(secret.size()), reinterpret_cast<const uint8_t*>(input.data()),
       input.size(), sum.data(), nullptr);
  return absl::StrCat(input, ".", Base64(std::string(sum.begin(), sum.end())));
}

std::string Sha256Hex(const std::string& text) {
  std::array<uint8_t, 32> sum;
  SHA256(reinterpret_cast<const uint8_t*>(text.data()), text.size(), sum.data());
  return absl::BytesToHexString(absl::string_view(reinterpret_cast<const char*>(sum.data()), sum.size()));
}

std::string MakeCertificate(const TestKey& key, const Subject& subject, const TestKey& issuer_key,
                            const Subject& issuer, bool authority) {
  X509* certificate = X509_new();
  X509_set_version(certificate, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
  constexpr int64_t kDay = 24 * 60 * 60;
  X509_gmtime_adj(X509_getm_notBefore(certificate), -kDay);
  X509_gmtime_adj(X509_getm_notAfter(certificate), kDay);
  X509_set_pubkey(certificate, key.get());
  SetName(X509_get_subject_name(certificate), subject);
  X509_NAME* by = X509_NAME_new();
  SetName(by, issuer);
  X509_set_issuer_name(certificate, by);
  X509_NAME_free(by);
  AddExtension(certificate, NID_basic_constraints, authority ? "critical,CA:TRUE" : "CA:FALSE");
  const std::string names = absl::StrCat("DNS:localhost,IP:127.0.0.1", subject.dns.empty() ? "" : ",DNS:", subject.dns);
  if (!authority) AddExtension(certificate, NID_subject_alt_name, names.c_str());
  X509_sign(certificate, issuer_key.get(), EVP_sha256());
  BIO* bytes = BIO_new(BIO_s_mem());
  PEM_write_bio_X509(bytes, certificate);
  X509_free(certificate);
  return TextOf(bytes);
}

}  // namespace longtake::server
