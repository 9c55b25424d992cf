// Who is asking: tokens' files, JSON Web Tokens, certificates, without a server.
#include <cstdio>
#include <fstream>
#include <functional>
#include <map>
#include <sstream>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/access/access.h"
#include "server/access/known_servers.h"
#include "server/video/error.h"
#include "spdlog/sinks/ostream_sink.h"
#include "tests/server/fake_clock.h"
#include "tests/server/test_keys.h"

namespace longtake::server {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::Not;

const absl::Time kNow = absl::FromUnixSeconds(1'800'000'000);

class IdentityTest : public testing::Test {
 protected:
  void TearDown() override {
    std::remove(path.c_str());
    std::remove(keys_path.c_str());
  }
  static void Write(const std::string& to, const std::string& text) { std::ofstream(to, std::ios::binary) << text; }
  absl::Status Open(AccessOptions options) {
    auto opened = Authenticator::Open(options, &clock, &logger, [this] { return now; });
    if (!opened.ok()) return opened.status();
    authenticator = *std::move(opened);
    return absl::OkStatus();
  }
  absl::Status OpenTokens(const std::string& text) {
    Write(path, text);
    return Open({.tokens = path});
  }
  // "tenant/name", or the error's message.
  std::string Ask(const std::string& authorization, const std::string& certificate = "") {
    const absl::StatusOr<Identity> found =
        authenticator->Identify({.authorization = authorization, .certificate = certificate});
    if (found.ok()) return absl::StrCat(found->tenant.id, "/", found->name);
    EXPECT_EQ(found.status().code(), absl::StatusCode::kUnauthenticated);
    EXPECT_EQ(DetailsOf(found.status()).reason, Reason::kUnauthenticated);
    return std::string(found.status().message());
  }

  const std::string path = absl::StrCat(testing::TempDir(), "/tokens_", getpid());
  const std::string keys_path = absl::StrCat(testing::TempDir(), "/keys_", getpid());
  FakeClock clock;
  absl::Time now = kNow;
  std::ostringstream log;
  spdlog::logger logger{"test", std::make_shared<spdlog::sinks::ostream_sink_mt>(log)};
  std::unique_ptr<Authenticator> authenticator;
};

TEST_F(IdentityTest, WithoutAnyOptionEverybodyIsOneTenant) {
  ASSERT_TRUE(Open({}).ok());
  EXPECT_TRUE(authenticator->open());
  EXPECT_EQ(Ask(""), "/");
  EXPECT_EQ(Ask("Bearer whatever"), "/");
}

TEST_F(IdentityTest, ATokenIsFoundByItsSum) {
  ASSERT_TRUE(OpenTokens(absl::StrCat("# who may come\n\nacme alice ", Sha256Hex("secret-a"), "  # laptop\r\n",
                                      "umbrella\tbob ", Sha256Hex("secret-b"), "\n"))
                  .ok());
  EXPECT_FALSE(authenticator->open());
  EXPECT_EQ(Ask("Bearer secret-a"), "acme/alice");
  EXPECT_EQ(Ask("bearer  secret-b"), "umbrella/bob");
  EXPECT_EQ(Ask("Bearer secret-c"), "the token is not known");
  EXPECT_EQ(Ask(absl::StrCat("Bearer ", Sha256Hex("secret-a"))), "the token is not known");
  EXPECT_EQ(Ask("Bearer "), "the token is not known");
  EXPECT_THAT(Ask("Basic secret-a"), Not(HasSubstr("secret")));
  EXPECT_THAT(Ask(""), HasSubstr("authorization"));
}

TEST_F(IdentityTest, AnErrorNamesFileAndLineAndKeepsTheSecret) {
  const std::string sum = Sha256Hex("x");
  for (const auto& [text, what] : std::map<std::string, std::string>{
           {"a b\n", "line 1: is not of three words"},
           {absl::StrCat("# x\na b ", sum, " c\n"), "line 2: is not of three words"},
           {"a b secret\n", "line 1: the SHA-256"},
           {absl::StrCat("a b ", sum.substr(1), "g\n"), "line 1: the SHA-256"},
           {absl::StrCat("\xc3\xa4 b ", sum, "\n"), "line 1: the tenant"},
           {absl::StrCat("a b ", sum, "\nc d ", sum, "\n"), "line 2: the token is that of a line before"}}) {
    const absl::Status status = OpenTokens(text);
    EXPECT_THAT(std::string(status.message()),
                testing::AllOf(HasSubstr(path), HasSubstr(what), Not(HasSubstr("secret"))));
  }
  EXPECT_THAT(std::string(Open({.tokens = "/no/such/file"}).message()), HasSubstr("/no/such/file: cannot be read"));
}

TEST_F(IdentityTest, AChangedFileIsReadAgainAndAWrongOneChangesNothing) {
  ASSERT_TRUE(OpenTokens(absl::StrCat("acme alice ", Sha256Hex("one"), "\n")).ok());
  Write(path, absl::StrCat("acme alice ", Sha256Hex("two"), "\nacme bob ", Sha256Hex("three"), "\n"));
  EXPECT_EQ(Ask("Bearer one"), "acme/alice");  // it is looked at once a second
  clock.Advance(absl::Seconds(1));
  EXPECT_EQ(Ask("Bearer two"), "acme/alice");
  EXPECT_EQ(Ask("Bearer one"), "the token is not known");

  Write(path, "nonsense\n");
  clock.Advance(absl::Seconds(1));
  EXPECT_EQ(Ask("Bearer two"), "acme/alice");
  EXPECT_THAT(log.str(), testing::AllOf(HasSubstr("error"), HasSubstr(absl::StrCat(path, ": line 1"))));
  const size_t logged = log.str().size();
  clock.Advance(absl::Seconds(1));
  EXPECT_EQ(Ask("Bearer two"), "acme/alice");
  EXPECT_EQ(log.str().size(), logged);  // once
  std::remove(path.c_str());
  clock.Advance(absl::Seconds(1));
  EXPECT_EQ(Ask("Bearer two"), "acme/alice");
  EXPECT_THAT(log.str().substr(logged), HasSubstr("cannot be read"));
}

class JwtTest : public IdentityTest {
 protected:
  void OpenKeys(const std::vector<json>& keys) {
    Write(keys_path, json({{"keys", keys}}).dump());
    const absl::Status status = Open(Options());
    ASSERT_TRUE(status.ok()) << status;
  }
  AccessOptions Options() const {
    return {.jwt = {.keys = keys_path, .issuer = "https://id.example", .audience = "longtake", .tenant_claim = "org"}};
  }
  static json Claims() {
    return {{"iss", "https://id.example"},
            {"aud", "longtake"},
            {"sub", "alice"},
            {"org", "acme"},
            {"exp", absl::ToUnixSeconds(kNow) + 300}};
  }
  static json Header(const std::string& algorithm, const std::string& kid = "k") {
    return {{"alg", algorithm}, {"kid", kid}, {"typ", "JWT"}};
  }
  std::string AskWith(const json& claims) { return Ask("Bearer " + ec.Sign(Header("ES256"), claims, "ES256")); }

  const TestKey ec{"P-256"};
};

TEST_F(JwtTest, EachKindOfKeySigns) {
  const TestKey rsa("RSA"), ed("Ed25519");
  OpenKeys({rsa.Jwk("r"), ec.Jwk("e"), ed.Jwk("d")});
  EXPECT_EQ(Ask("Bearer " + rsa.Sign(Header("RS256", "r"), Claims(), "RS256")), "acme/alice");
  EXPECT_EQ(Ask("Bearer " + rsa.Sign(Header("PS256", "r"), Claims(), "PS256")), "acme/alice");
  EXPECT_EQ(Ask("Bearer " + ec.Sign(Header("ES256", "e"), Claims(), "ES256")), "acme/alice");
  EXPECT_EQ(Ask("Bearer " + ed.Sign(Header("EdDSA", "d"), Claims(), "EdDSA")), "acme/alice");
  // Without a kid the only key of its kind is meant.
  EXPECT_EQ(Ask("Bearer " + ed.Sign({{"alg", "EdDSA"}}, Claims(), "EdDSA")), "acme/alice");
}

TEST_F(JwtTest, ForgedSignaturesAreRefused) {
  const TestKey rsa("RSA"), other("P-256"), ed("Ed25519"), other_ed("Ed25519");
  OpenKeys({rsa.Jwk("r"), ec.Jwk("e"), ed.Jwk("d")});
  const std::string right = ec.Sign(Header("ES256", "e"), Claims(), "ES256");
  json richer = Claims();
  richer["org"] = "umbrella";
  const std::string signature = right.substr(right.rfind('.'));
  const json secret = rsa.Jwk("r");
  const std::string public_pem = rsa.Pem();
  for (const std::string& token : {
           other.Sign(Header("ES256", "e"), Claims(), "ES256"),     // by another key
           other_ed.Sign(Header("EdDSA", "d"), Claims(), "EdDSA"),  //
           SigningInput(Header("ES256", "e"), richer) + signature,  // claims changed
           ec.Sign(Header("ES256", "unknown"), Claims(), "ES256"),  // no such kid
           ec.Sign(Header("RS256", "e"), Claims(), "ES256"),        // the key is of another kind
           ec.Sign(Header("ES384", "e"), Claims(), "ES256"),        // and of another curve
           SigningInput(Header("none", "e"), Claims()) + ".",       // without a signature
           SigningInput(Header("None", "e"), Claims()) + ".",       //
           SigningInput({{"alg", "none"}}, Claims()) + ".",         //
           SignHmac(Header("HS256", "r"), Claims(), public_pem),    // the public key as a secret
           SignHmac(Header("HS256", "r"), Claims(), secret["n"].get<std::string>()),
           SignHmac(Header("RS256", "r"), Claims(), public_pem),
           right.substr(0, right.rfind('.')) + ".",
       }) {
    EXPECT_EQ(Ask("Bearer " + token), "the token is not signed by a key of this server") << token;
  }
  for (const std::string& token : {std::string("x"), std::string("..."), std::string("a.b.c"), right + ".x",
                                   std::string(20'000, 'a'), std::string("e30.e30.e30")}) {
    EXPECT_EQ(Ask("Bearer " + token), "the token is not known") << token;
  }
  EXPECT_EQ(Ask("Bearer " + ec.Sign({{"alg", "ES256"}, {"kid", "e"}, {"crit", {"b64"}}}, Claims(), "ES256")),
            "the token has a critical header that this server does not know");
}

// cjose ends the process on a part of 4n + 1 characters, and stops reading at padding.
TEST_F(JwtTest, PartsThatAreNoBase64UrlAreRefused) {
  const TestKey rsa("RSA"), ed("Ed25519");
  OpenKeys({rsa.Jwk("r"), ec.Jwk("e"), ed.Jwk("d")});
  for (const auto& [key, algorithm, kid] : std::vector<std::tuple<TestKey, std::string, std::string>>{
           {rsa, "RS256", "r"}, {rsa, "PS256", "r"}, {ec, "ES256", "e"}, {ed, "EdDSA", "d"}}) {
    const std::string right = key.Sign(Header(algorithm, kid), Claims(), algorithm);
    ASSERT_EQ(Ask("Bearer " + right), "acme/alice");
    const std::vector<std::string> parts = absl::StrSplit(right, '.');
    for (size_t i = 0; i < parts.size(); ++i) {
      const std::string whole = parts[i].substr(0, parts[i].size() / 4 * 4);
      for (const std::string& part : {whole + "A", whole + "A=", whole + "A===", std::string("A"), std::string(),
                                      parts[i] + "=", "=" + parts[i], parts[i] + "+", whole + "AAAA\n"}) {
        std::vector<std::string> changed = parts;
        changed[i] = part;
        EXPECT_THAT(Ask("Bearer " + absl::StrJoin(changed, ".")), testing::StartsWith("the token is not "))
            << algorithm << ", part " << i << ": " << part;
      }
    }
  }
}

TEST_F(JwtTest, WithoutAKidTwoKeysOfAKindAreAmbiguous) {
  const TestKey other("P-256");
  OpenKeys({ec.Jwk("1"), other.Jwk("2")});
  EXPECT_THAT(Ask("Bearer " + ec.Sign({{"alg", "ES256"}}, Claims(), "ES256")), HasSubstr("not signed"));
}

TEST_F(JwtTest, ClaimsAreChecked) {
  OpenKeys({ec.Jwk("k")});
  const int64_t at = absl::ToUnixSeconds(kNow);
  const auto with = [](const char* claim, const json& value) {
    json claims = Claims();
    claims[claim] = value;
    return claims;
  };
  const auto without = [](const char* claim) {
    json claims = Claims();
    claims.erase(claim);
    return claims;
  };
  EXPECT_EQ(AskWith(Claims()), "acme/alice");
  EXPECT_EQ(AskWith(with("exp", at - 59)), "acme/alice");
  EXPECT_EQ(AskWith(with("exp", at - 60)), "the token has expired");
  EXPECT_THAT(AskWith(without("exp")), HasSubstr("(exp)"));
  EXPECT_THAT(AskWith(with("exp", "never")), HasSubstr("(exp)"));
  EXPECT_EQ(AskWith(with("exp", 1e300)), "acme/alice");
  EXPECT_EQ(AskWith(with("nbf", at + 60)), "acme/alice");
  EXPECT_THAT(AskWith(with("nbf", at + 61)), HasSubstr("(nbf)"));
  EXPECT_THAT(AskWith(with("nbf", nullptr)), HasSubstr("(nbf)"));
  EXPECT_THAT(AskWith(with("iss", "https://id.example.evil")), HasSubstr("(iss)"));
  EXPECT_THAT(AskWith(without("iss")), HasSubstr("(iss)"));
  EXPECT_THAT(AskWith(with("aud", "other")), HasSubstr("(aud)"));
  EXPECT_THAT(AskWith(without("aud")), HasSubstr("(aud)"));
  EXPECT_EQ(AskWith(with("aud", {"other", "longtake"})), "acme/alice");
  EXPECT_THAT(AskWith(without("org")), HasSubstr("(org)"));
  EXPECT_THAT(AskWith(with("org", "")), HasSubstr("(org)"));
  EXPECT_THAT(AskWith(with("org", "a\nb")), HasSubstr("(org)"));
  EXPECT_THAT(AskWith(with("org", {"acme"})), HasSubstr("(org)"));
  EXPECT_EQ(AskWith(without("sub")), "acme/");
  now += absl::Minutes(10);
  EXPECT_EQ(AskWith(Claims()), "the token has expired");
}

TEST_F(JwtTest, KeysAreReadAgain) {
  OpenKeys({ec.Jwk("k")});
  const TestKey next("P-256");
  Write(keys_path, json({{"keys", json::array({next.Jwk("n")})}}).dump() + " ");
  clock.Advance(absl::Seconds(1));
  EXPECT_THAT(AskWith(Claims()), HasSubstr("not signed"));
  EXPECT_EQ(Ask("Bearer " + next.Sign(Header("ES256", "n"), Claims(), "ES256")), "acme/alice");
}

TEST_F(JwtTest, WrongKeyFilesAndOptionsAreNamed) {
  const TestKey small("RSA", 1024);
  json with_private = ec.Jwk("k"), broken = ec.Jwk("k");
  with_private["d"] = "AA";
  broken["x"] = broken["y"];
  json long_by_one = ec.Jwk("k"), padded = TestKey("RSA").Jwk("r"), without = padded;
  long_by_one["y"] = "AAAAA";
  padded["n"] = padded["n"].get<std::string>() + "==";
  without.erase("e");
  for (const auto& [keys, what] : std::vector<std::pair<std::vector<json>, std::string>>{
           {{}, "has no RSA, EC or Ed25519 key"},
           {{json{{"kty", "oct"}, {"k", "c2VjcmV0"}}}, "keys[0]: is a private or symmetric key"},
           {{with_private}, "keys[0]: is a private or symmetric key"},
           {{ec.Jwk("k"), small.Jwk("s")}, "keys[1]: is an RSA key of less than 2048 bits"},
           {{ec.Jwk("k"), ec.Jwk("k")}, "keys[1]: \"kid\" is that of a key before"},
           {{broken}, "keys[0]: is no EC key"},
           {{ec.Jwk("k"), long_by_one}, "keys[1]: \"y\" is no base64url"},
           {{padded}, "keys[0]: \"n\" is no base64url"},
           {{without}, "keys[0]: \"e\" is no base64url"},
           {{json{{"kty", "OKP"}, {"crv", "Ed25519"}, {"x", "AA"}}}, "keys[0]: \"x\" is no Ed25519 key"},
           {{json(1)}, "keys[0]: is no object"}}) {
    Write(keys_path, json({{"keys", keys}}).dump());
    EXPECT_THAT(std::string(Open(Options()).message()), testing::AllOf(HasSubstr(keys_path), HasSubstr(what)));
  }
  Write(keys_path, "[]");
  EXPECT_THAT(std::string(Open(Options()).message()), HasSubstr("\"keys\""));
  Write(keys_path, json({{"keys", json::array({ec.Jwk("k")})}}).dump());
  AccessOptions options = Options();
  options.jwt.audience = "";
  EXPECT_THAT(std::string(Open(options).message()), HasSubstr("jwt-audience"));
  options = Options();
  options.jwt.issuer = "";
  EXPECT_THAT(std::string(Open(options).message()), HasSubstr("jwt-issuer"));
  options = Options();
  options.jwt.keys = "";
  EXPECT_THAT(std::string(Open(options).message()), HasSubstr("jwks"));
  // Keys that are for something else do no harm.
  json encryption = ec.Jwk("enc");
  encryption["use"] = "enc";
  OpenKeys({encryption, json{{"kty", "new"}}, ec.Jwk("k")});
  EXPECT_EQ(AskWith(Claims()), "acme/alice");
}

TEST_F(IdentityTest, ACertificateNamesItsTenant) {
  ASSERT_TRUE(Open({.certificates = true}).ok());
  const TestKey key("P-256");
  const auto certificate = [&key](const Subject& subject) { return MakeCertificate(key, subject, key, subject); };
  EXPECT_EQ(Ask("", certificate({"Acme GmbH", "alice"})), "Acme GmbH/alice");
  EXPECT_EQ(Ask("", certificate({"Acme", ""})), "Acme/");
  EXPECT_THAT(Ask("", certificate({"", "alice"})), HasSubstr("organisation"));
  EXPECT_THAT(Ask("", certificate({"a\nb", "alice"})), HasSubstr("organisation"));
  EXPECT_THAT(Ask("", "nonsense"), HasSubstr("cannot be parsed"));
  EXPECT_THAT(Ask(""), HasSubstr("client certificate"));
  EXPECT_EQ(Ask("Bearer x", certificate({"Acme", "alice"})), "this server takes no tokens");
}

TEST_F(IdentityTest, AServerIsKnownByItsAuthorityAndItsName) {
  const TestKey key("P-256"), ca_key("P-256"), middle_key("P-256"), other_key("P-256");
  const Subject ca{"", "ca"}, middle{"", "middle"};
  const std::string authority = MakeCertificate(ca_key, ca, ca_key, ca, /*authority=*/true);
  Write(path, authority);
  auto opened = KnownServers::Open(path, "servers.longtake", &clock, &logger);
  ASSERT_TRUE(opened.ok()) << opened.status();
  const KnownServers& servers = **opened;
  const auto certificate = [&](const std::string& dns, const TestKey& by, const Subject& issuer) {
    return MakeCertificate(key, {"acme", "servers.longtake", dns}, by, issuer);
  };
  EXPECT_TRUE(servers.Has(certificate("servers.longtake", ca_key, ca), ""));
  EXPECT_TRUE(servers.Has(certificate("SERVERS.longtake", ca_key, ca), "")) << "names of hosts have no case";
  EXPECT_FALSE(servers.Has(certificate("", ca_key, ca), "")) << "a common name is no DNS name";
  EXPECT_FALSE(servers.Has(certificate("others.longtake", ca_key, ca), ""));
  EXPECT_FALSE(servers.Has(certificate("*.longtake", ca_key, ca), ""));
  EXPECT_FALSE(servers.Has(certificate("x.servers.longtake", ca_key, ca), ""));
  EXPECT_FALSE(servers.Has(certificate("servers.longtake", other_key, ca), "")) << "signed by somebody else";
  EXPECT_FALSE(servers.Has(MakeCertificate(key, {"", "x", "servers.longtake"}, key, {"", "x"}), "")) << "by itself";
  EXPECT_FALSE(servers.Has("", ""));
  EXPECT_FALSE(servers.Has("nonsense", authority));
  // What the caller shows beside its certificate is trusted only as far as the authority has signed it.
  const std::string between = MakeCertificate(middle_key, middle, ca_key, ca, /*authority=*/true);
  const std::string forged = MakeCertificate(middle_key, middle, middle_key, middle, /*authority=*/true);
  const std::string below = certificate("servers.longtake", middle_key, middle);
  EXPECT_FALSE(servers.Has(below, ""));
  EXPECT_FALSE(servers.Has(below, forged));
  EXPECT_TRUE(servers.Has(below, between));
  EXPECT_TRUE(servers.Has(below, below + between));
  // The file is read again.
  Write(path, MakeCertificate(other_key, ca, other_key, ca, /*authority=*/true) + " ");
  clock.Advance(absl::Seconds(1));
  EXPECT_FALSE(servers.Has(certificate("servers.longtake", ca_key, ca), ""));
  EXPECT_TRUE(servers.Has(certificate("servers.longtake", other_key, ca), ""));
  Write(path, "nonsense");
  EXPECT_THAT(std::string(KnownServers::Open(path, "a", &clock, &logger).status().message()), HasSubstr(path));
}

TEST(Caller, IsNamedToAnotherServerAsItIs) {
  for (const Identity& caller :
       {Identity{{"acme"}, "alice"}, Identity{{"Acme GmbH"}, ""}, Identity{{"\xc3\xa4"}, "b"}}) {
    const absl::StatusOr<Identity> found = DecodeCaller(EncodeCaller(caller));
    ASSERT_TRUE(found.ok()) << found.status();
    EXPECT_EQ(found->tenant, caller.tenant);
    EXPECT_EQ(found->name, caller.name);
  }
  for (const std::string& bytes : {std::string(), std::string("acme"), std::string("\nalice"), std::string("a\nb\nc"),
                                   std::string("a\0\nb", 4), std::string(200, 'a') + "\n"}) {
    EXPECT_EQ(DetailsOf(DecodeCaller(bytes).status()).reason, Reason::kUnauthenticated) << bytes;
  }
}

TEST_F(IdentityTest, ATokenCountsBeforeACertificate) {
  Write(path, absl::StrCat("umbrella bob ", Sha256Hex("secret"), "\n"));
  ASSERT_TRUE(Open({.tokens = path, .certificates = true}).ok());
  const TestKey key("P-256");
  const std::string certificate = MakeCertificate(key, {"Acme", "alice"}, key, {"Acme", "alice"});
  EXPECT_EQ(Ask("Bearer secret", certificate), "umbrella/bob");
  EXPECT_EQ(Ask("Bearer wrong", certificate), "the token is not known");
  EXPECT_EQ(Ask("", certificate), "Acme/alice");
}

}  // namespace
}  // namespace longtake::server
