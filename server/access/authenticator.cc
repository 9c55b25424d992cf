#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "server/access/access.h"
#include "server/access/certificate.h"
#include "server/access/jwt.h"
#include "server/access/token_table.h"
#include "server/access/watched_file.h"
#include "server/video/error.h"

namespace longtake::server {
namespace {

constexpr char kScheme[] = "bearer ";

absl::Status Refuse(absl::string_view why) {
  return MakeError(absl::StatusCode::kUnauthenticated, std::string(why), {.reason = Reason::kUnauthenticated});
}

}  // namespace

struct Authenticator::Impl {
  AccessOptions options;
  std::function<absl::Time()> now;
  std::unique_ptr<WatchedFile<TokenTable>> tokens;
  std::unique_ptr<WatchedFile<JsonWebKeys>> keys;

  absl::StatusOr<Identity> OfToken(const std::string& token) const {
    if (tokens != nullptr) {
      if (std::optional<Identity> found = tokens->Get()->Find(token); found.has_value()) return *std::move(found);
    }
    if (keys == nullptr) return absl::UnauthenticatedError("the token is not known");
    return VerifyJwt(token, *keys->Get(), options.jwt, now());
  }
};

Authenticator::Authenticator(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Authenticator::~Authenticator() = default;

absl::StatusOr<std::unique_ptr<Authenticator>> Authenticator::Open(const AccessOptions& options, const Clock* clock,
                                                                   spdlog::logger* logger,
                                                                   std::function<absl::Time()> now) {
  auto impl = std::make_unique<Impl>();
  impl->options = options;
  impl->now = std::move(now);
  if (!options.tokens.empty()) {
    const auto parse = [path = options.tokens](const std::string& text) { return TokenTable::Parse(path, text); };
    ASSIGN_OR_RETURN(impl->tokens, WatchedFile<TokenTable>::Open(options.tokens, parse, clock, logger));
  }
  const JwtOptions& jwt = options.jwt;
  if (jwt.keys.empty() && (!jwt.issuer.empty() || !jwt.audience.empty())) {
    return absl::InvalidArgumentError("jwks: is missing, with which jwt-issuer and jwt-audience are checked");
  }
  if (!jwt.keys.empty()) {
    // Without them a token that the provider has issued for another service would be accepted here.
    if (jwt.issuer.empty()) return absl::InvalidArgumentError("jwt-issuer: is missing");
    if (jwt.audience.empty()) return absl::InvalidArgumentError("jwt-audience: is missing");
    if (jwt.tenant_claim.empty()) return absl::InvalidArgumentError("jwt-tenant-claim: is empty");
    const auto parse = [path = jwt.keys](const std::string& text) { return JsonWebKeys::Parse(path, text); };
    ASSIGN_OR_RETURN(impl->keys, WatchedFile<JsonWebKeys>::Open(jwt.keys, parse, clock, logger));
  }
  return std::unique_ptr<Authenticator>(new Authenticator(std::move(impl)));
}

bool Authenticator::open() const {
  return impl_->tokens == nullptr && impl_->keys == nullptr && !impl_->options.certificates;
}

absl::StatusOr<Identity> Authenticator::Identify(const Credentials& credentials) const {
  if (open()) return Identity{};
  const absl::string_view header = credentials.authorization;
  if (!header.empty()) {
    if (impl_->tokens == nullptr && impl_->keys == nullptr) return Refuse("this server takes no tokens");
    if (!absl::StartsWithIgnoreCase(header, kScheme)) return Refuse("authorization: is not \"Bearer\" and a token");
    const std::string token(absl::StripAsciiWhitespace(header.substr(sizeof(kScheme) - 1)));
    absl::StatusOr<Identity> found = impl_->OfToken(token);
    return found.ok() ? std::move(found) : Refuse(found.status().message());
  }
  if (impl_->options.certificates && !credentials.certificate.empty()) {
    absl::StatusOr<Identity> found = IdentityOfCertificate(credentials.certificate);
    return found.ok() ? std::move(found) : Refuse(found.status().message());
  }
  const bool tokens = impl_->tokens != nullptr || impl_->keys != nullptr;
  return Refuse(absl::StrCat("the call does not say who is asking: ", tokens ? "metadata \"authorization\"" : "",
                             tokens && impl_->options.certificates ? " or " : "",
                             impl_->options.certificates ? "a client certificate" : "", " is needed"));
}

}  // namespace longtake::server
