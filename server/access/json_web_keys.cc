#include "server/access/json_web_keys.h"

#include <cjose/cjose.h>
#include <openssl/err.h>
#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/json_depth.h"

namespace longtake::server {
namespace {

using nlohmann::json;

// cjose reads keys and verifies RSA and EC; of Ed25519 it knows nothing, so OpenSSL is called for it here.
using CjoseKey = std::unique_ptr<cjose_jwk_t, bool (*)(cjose_jwk_t*)>;
using CjoseToken = std::unique_ptr<cjose_jws_t, void (*)(cjose_jws_t*)>;
using OpensslKey = std::unique_ptr<EVP_PKEY, void (*)(EVP_PKEY*)>;
using Digest = std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)>;

constexpr size_t kMinRsaBits = 2048;

struct Algorithm {
  const char* name;
  const char* type;   // kty of its keys
  const char* curve;  // crv of its keys; empty: they have none
};
constexpr std::array<Algorithm, 10> kAlgorithms = {{{"RS256", "RSA", ""},
                                                    {"RS384", "RSA", ""},
                                                    {"RS512", "RSA", ""},
                                                    {"PS256", "RSA", ""},
                                                    {"PS384", "RSA", ""},
                                                    {"PS512", "RSA", ""},
                                                    {"ES256", "EC", "P-256"},
                                                    {"ES384", "EC", "P-384"},
                                                    {"ES512", "EC", "P-521"},
                                                    {"EdDSA", "OKP", "Ed25519"}}};

std::string Text(const json& object, const char* field) {
  const auto found = object.find(field);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

// Whether `text` is base64url without padding of at least one byte (RFC 7515, section 2). cjose 0.6.2 ends the process
// on a text that has one character more than whole groups of four (cisco/cjose, pull request 143), so nothing reaches
// it that has not passed here.
bool IsBase64Url(absl::string_view text) {
  return !text.empty() && text.size() % 4 != 1 && std::all_of(text.begin(), text.end(), [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_';
  });
}

bool IsCompactJws(const std::string& token) {
  const std::vector<absl::string_view> parts = absl::StrSplit(token, '.');
  return parts.size() == 3 && std::all_of(parts.begin(), parts.end(), IsBase64Url);
}

bool VerifyEd25519(EVP_PKEY* key, const std::string& token) {
  const size_t dot = token.rfind('.');
  std::string signature;
  if (dot == std::string::npos || !absl::WebSafeBase64Unescape(token.substr(dot + 1), &signature)) return false;
  const Digest context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  return EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, key) == 1 &&
         EVP_DigestVerify(context.get(), reinterpret_cast<const uint8_t*>(signature.data()), signature.size(),
                          reinterpret_cast<const uint8_t*>(token.data()), dot) == 1;
}

bool VerifyByCjose(const cjose_jwk_t* key, const std::string& token) {
  cjose_err error = {};
  const CjoseToken parsed(cjose_jws_import(token.data(), token.size(), &error), cjose_jws_release);
  return parsed != nullptr && cjose_jws_verify(parsed.get(), key, &error);
}

}  // namespace

struct JsonWebKeys::Key {
  std::string kid, algorithm, type, curve;  // algorithm: the only one that it is for; empty: any
  CjoseKey rsa_or_ec{nullptr, cjose_jwk_release};
  OpensslKey ed25519{nullptr, EVP_PKEY_free};

  bool Fits(const Algorithm& wanted) const {
    return type == wanted.type && curve == wanted.curve && (algorithm.empty() || algorithm == wanted.name);
  }
  // Whether it is a key that can be used; false for one of a kind that is not known.
  absl::StatusOr<bool> Load(const json& given) {
    kid = Text(given, "kid");
    algorithm = Text(given, "alg");
    type = Text(given, "kty");
    curve = type == "RSA" ? "" : Text(given, "crv");
    if (type == "oct" || given.contains("d")) {
      return absl::InvalidArgumentError("is a private or symmetric key; a server needs the public one");
    }
    if (const std::string use = Text(given, "use"); !use.empty() && use != "sig") return false;
    if (type == "OKP" && curve == "Ed25519") {
      std::string bytes;
      if (absl::WebSafeBase64Unescape(Text(given, "x"), &bytes)) {
        ed25519.reset(EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr,
                                                  reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()));
      }
      ERR_clear_error();
      return ed25519 != nullptr ? absl::StatusOr<bool>(true) : absl::InvalidArgumentError("\"x\" is no Ed25519 key");
    }
    const bool known_curve = curve == "P-256" || curve == "P-384" || curve == "P-521";
    if (type != "RSA" && !(type == "EC" && known_curve)) return false;
    // cjose is given what makes up a public key, and nothing else that the file may say.
    json public_key = {{"kty", type}};
    if (type == "EC") public_key["crv"] = curve;
    for (const char* field : type == "RSA" ? std::array{"n", "e"} : std::array{"x", "y"}) {
      const std::string number = Text(given, field);
      if (!IsBase64Url(number)) return absl::InvalidArgumentError(absl::StrCat("\"", field, "\" is no base64url"));
      public_key[field] = number;
    }
    const std::string text = public_key.dump();
    cjose_err error = {};
    rsa_or_ec.reset(cjose_jwk_import(text.data(), text.size(), &error));
    ERR_clear_error();
    if (rsa_or_ec == nullptr) return absl::InvalidArgumentError(absl::StrCat("is no ", type, " key"));
    if (type == "RSA" && cjose_jwk_get_keysize(rsa_or_ec.get(), &error) < kMinRsaBits) {
      return absl::InvalidArgumentError("is an RSA key of less than 2048 bits");
    }
    return true;
  }
};

absl::StatusOr<JsonWebKeys> JsonWebKeys::Parse(const std::string& path, const std::string& text) {
  const json parsed = JsonNestsDeeper(text) ? json() : json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!parsed.is_object() || !parsed.contains("keys") || !parsed["keys"].is_array()) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": is no JSON object with an array \"keys\""));
  }
  JsonWebKeys keys;
  int number = 0;
  for (const json& each : parsed["keys"]) {
    const std::string where = absl::StrCat(path, ": keys[", number++, "]: ");
    if (!each.is_object()) return absl::InvalidArgumentError(absl::StrCat(where, "is no object"));
    auto key = std::make_shared<Key>();
    const absl::StatusOr<bool> usable = key->Load(each);
    if (!usable.ok()) return absl::InvalidArgumentError(absl::StrCat(where, std::string(usable.status().message())));
    if (!*usable) continue;
    for (const auto& other : keys.keys_) {
      if (!key->kid.empty() && other->kid == key->kid) {
        return absl::InvalidArgumentError(absl::StrCat(where, "\"kid\" is that of a key before"));
      }
    }
    keys.keys_.push_back(std::move(key));
  }
  if (keys.keys_.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": has no RSA, EC or Ed25519 key for signatures"));
  }
  return keys;
}

bool JsonWebKeys::Verify(const std::string& token, const std::string& algorithm, const std::string& kid) const {
  if (!IsCompactJws(token)) return false;
  const Key* key = nullptr;
  for (const Algorithm& known : kAlgorithms) {
    if (algorithm != known.name) continue;
    for (const auto& each : keys_) {
      if (!each->Fits(known) || (!kid.empty() && each->kid != kid)) continue;
      if (key != nullptr) return false;  // without a kid it cannot be told which one is meant
      key = each.get();
    }
  }
  if (key == nullptr) return false;
  const bool verified =
      key->ed25519 != nullptr ? VerifyEd25519(key->ed25519.get(), token) : VerifyByCjose(key->rsa_or_ec.get(), token);
  ERR_clear_error();  // of this thread, which TLS shares
  return verified;
}

}  // namespace longtake::server
