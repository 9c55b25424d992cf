// Who is asking: files of tokens, keys and quotas, JSON Web Tokens, certificates, and viewing links. The first line
// says which. Claims are signed by the target, for no mutation finds a signature.
#include <openssl/evp.h>

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "server/access/certificate.h"
#include "server/access/json_web_keys.h"
#include "server/access/jwt.h"
#include "server/access/link_keys.h"
#include "server/access/plain_name.h"
#include "server/access/quota_table.h"
#include "server/access/token_table.h"
#include "server/access/viewing_links.h"
#include "spdlog/logger.h"
#include "tests/fuzz/check.h"
#include "tests/fuzz/memory_file.h"
#include "tests/server/fake_clock.h"

namespace longtake::server {
namespace {

using fuzz::Check;
using Key = std::unique_ptr<EVP_PKEY, void (*)(EVP_PKEY*)>;

const absl::Time kNow = absl::FromUnixSeconds(1'800'000'000);

// An Ed25519 key, the same in every run.
EVP_PKEY* PrivateKey() {
  static const std::array<uint8_t, 32> seed = {1, 2, 3};
  static const Key key(EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, seed.data(), seed.size()),
                       EVP_PKEY_free);
  return key.get();
}

// Of RFC 7515, appendices A.2.1 and A.3.1: nobody signs by them here, but cjose, which knows no Ed25519, reads a token
// before it verifies it.
constexpr char kOtherKeys[] = R"(
{"kty":"RSA","e":"AQAB","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"},
{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"})";

const JsonWebKeys& PublicKeys() {
  static const JsonWebKeys keys = [] {
    std::array<uint8_t, 32> bytes;
    size_t size = bytes.size();
    EVP_PKEY_get_raw_public_key(PrivateKey(), bytes.data(), &size);
    const std::string x =
        absl::WebSafeBase64Escape(absl::string_view(reinterpret_cast<const char*>(bytes.data()), size));
    absl::StatusOr<JsonWebKeys> parsed = JsonWebKeys::Parse(
        "keys.json", absl::StrCat(R"({"keys":[{"kty":"OKP","crv":"Ed25519","x":")", x, R"("},)", kOtherKeys, "]}"));
    Check(parsed.ok(), "the target's own key is refused");
    return *std::move(parsed);
  }();
  return keys;
}

std::string Signed(absl::string_view header, absl::string_view claims) {
  const std::string input = absl::StrCat(absl::WebSafeBase64Escape(header), ".", absl::WebSafeBase64Escape(claims));
  const std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  std::array<uint8_t, 64> signature;
  size_t size = signature.size();
  EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, PrivateKey());
  EVP_DigestSign(context.get(), signature.data(), &size, reinterpret_cast<const uint8_t*>(input.data()), input.size());
  return absl::StrCat(
      input, ".", absl::WebSafeBase64Escape(absl::string_view(reinterpret_cast<const char*>(signature.data()), size)));
}

void Verify(const std::string& token) {
  const JwtOptions options{.keys = "keys.json", .issuer = "https://id.example", .audience = "longtake"};
  const absl::StatusOr<Identity> identity = VerifyJwt(token, PublicKeys(), options, kNow);
  if (identity.ok()) Check(IsPlainName(identity->tenant.id), "a token's tenant would forge lines of the log");
}

void VerifyLink(absl::string_view link) {
  static const FakeClock clock;
  static spdlog::logger logger("fuzz");
  static fuzz::MemoryFile file;
  static const std::unique_ptr<ViewingLinks> links = [] {
    file.Write(std::string(64, 'a'));
    auto opened =
        ViewingLinks::Open({.keys = file.path()}, /*asks_callers=*/true, &clock, &logger, [] { return kNow; });
    Check(opened.ok(), "links cannot be opened");
    return *std::move(opened);
  }();
  static const ViewingLinks::Link right = *links->Make({"acme"}, "videos/1", absl::Seconds(60));
  const absl::StatusOr<ViewingGrant> grant = links->Verify("videos/1", link);
  // 32 bytes of a MAC are not forged: a link that holds was made by these keys.
  Check(!grant.ok() || link == right.text, "a link holds that nobody has made");
  Check(links->Verify("videos/1", right.text).ok(), "a link that was made does not hold");
}

}  // namespace

void ReadAccess(const fuzz::Input& input) {
  const std::string text(input.rest);
  if (input.kind == "jwt") Verify(text);
  if (input.kind == "header") Verify(Signed(text, R"({"exp":1900000000,"iss":"https://id.example","aud":"longtake"})"));
  if (input.kind == "claims") Verify(Signed(R"({"alg":"EdDSA"})", text));
  if (input.kind == "link") VerifyLink(text);
  if (input.kind == "link_keys") (void)LinkKeys::Parse("keys", text);
  if (input.kind == "jwks") (void)JsonWebKeys::Parse("keys.json", text);
  if (input.kind == "quotas") {
    const absl::StatusOr<QuotaTable> quotas = QuotaTable::Parse("quotas.json", text);
    if (quotas.ok()) (void)quotas->Of({"acme"});
  }
  if (input.kind == "tokens") {
    const absl::StatusOr<TokenTable> tokens = TokenTable::Parse("tokens", text);
    if (tokens.ok()) (void)tokens->Find("a token");
  }
  if (input.kind == "certificate") {
    const absl::StatusOr<Identity> identity = IdentityOfCertificate(text);
    if (identity.ok()) Check(IsPlainName(identity->tenant.id), "a certificate's tenant would forge lines of the log");
  }
}

}  // namespace longtake::server

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  longtake::server::ReadAccess(longtake::fuzz::SplitKind(longtake::fuzz::ToText(data, size)));
  return 0;
}
