#include "server/access/known_servers.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "server/access/plain_name.h"
#include "server/access/watched_file.h"
#include "server/video/error.h"

namespace longtake::server {
namespace {

// No name has it.
constexpr char kBetween = '\n';

using Certificate = std::unique_ptr<X509, decltype(&X509_free)>;
using Authorities = std::shared_ptr<X509_STORE>;

std::vector<Certificate> ParseCertificates(absl::string_view pem) {
  std::vector<Certificate> parsed;
  const std::unique_ptr<BIO, decltype(&BIO_free)> bytes(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())),
                                                        BIO_free);
  while (X509* const next = PEM_read_bio_X509(bytes.get(), nullptr, nullptr, nullptr)) {
    parsed.emplace_back(next, X509_free);
  }
  ERR_clear_error();  // of this thread, which TLS shares
  return parsed;
}

absl::StatusOr<Authorities> ParseAuthorities(const std::string& path, const std::string& text) {
  const std::vector<Certificate> authorities = ParseCertificates(text);
  if (authorities.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(path, " has no certificates that can be read as PEM"));
  }
  Authorities store(X509_STORE_new(), X509_STORE_free);
  for (const Certificate& each : authorities) X509_STORE_add_cert(store.get(), each.get());
  // An authority that another one has signed is one as well.
  X509_STORE_set_flags(store.get(), X509_V_FLAG_PARTIAL_CHAIN);
  ERR_clear_error();
  return store;
}

// Whether the certificate is a client's of TLS by one of the authorities. `name`: that it has, as a DNS name of its own
// and by no wildcard; empty: any.
bool Verify(X509_STORE* authorities, X509* certificate, const std::vector<Certificate>& others,
            const std::string& name) {
  const std::unique_ptr<STACK_OF(X509), void (*)(STACK_OF(X509)*)> chain(
      sk_X509_new_null(), [](STACK_OF(X509) * stack) { sk_X509_free(stack); });
  for (const Certificate& each : others) sk_X509_push(chain.get(), each.get());
  const std::unique_ptr<X509_STORE_CTX, decltype(&X509_STORE_CTX_free)> context(X509_STORE_CTX_new(),
                                                                                X509_STORE_CTX_free);
  bool right = X509_STORE_CTX_init(context.get(), authorities, certificate, chain.get()) == 1 &&
               X509_STORE_CTX_set_purpose(context.get(), X509_PURPOSE_SSL_CLIENT) == 1;
  if (right && !name.empty()) {
    X509_VERIFY_PARAM* const wanted = X509_STORE_CTX_get0_param(context.get());
    X509_VERIFY_PARAM_set_hostflags(wanted, X509_CHECK_FLAG_NO_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    right = X509_VERIFY_PARAM_set1_host(wanted, name.data(), name.size()) == 1;
  }
  right = right && X509_verify_cert(context.get()) == 1;
  ERR_clear_error();
  return right;
}

}  // namespace

struct KnownServers::Impl {
  std::string name;
  std::unique_ptr<WatchedFile<Authorities>> authorities;
};

KnownServers::KnownServers(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
KnownServers::~KnownServers() = default;

absl::StatusOr<std::unique_ptr<KnownServers>> KnownServers::Open(const std::string& authorities,
                                                                 const std::string& name, const Clock* clock,
                                                                 spdlog::logger* logger) {
  auto impl = std::make_unique<Impl>();
  impl->name = name;
  const auto parse = [authorities](const std::string& text) { return ParseAuthorities(authorities, text); };
  ASSIGN_OR_RETURN(impl->authorities, WatchedFile<Authorities>::Open(authorities, parse, clock, logger));
  return std::unique_ptr<KnownServers>(new KnownServers(std::move(impl)));
}

bool KnownServers::Has(absl::string_view certificate, absl::string_view chain) const {
  const std::vector<Certificate> own = ParseCertificates(certificate);
  if (own.empty()) return false;
  return Verify(impl_->authorities->Get()->get(), own.front().get(), ParseCertificates(chain), impl_->name);
}

absl::Status CheckOwnCertificate(const std::string& certificate, const std::string& client_authorities,
                                 const std::string& authorities, const std::string& name) {
  ASSIGN_OR_RETURN(const std::string own, ReadFile(certificate));
  const std::vector<Certificate> chain = ParseCertificates(own);
  if (chain.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("tls-cert: ", certificate, " has no certificates that can be read as PEM"));
  }
  const auto fits = [&](const std::string& file, const std::string& with) -> absl::StatusOr<bool> {
    ASSIGN_OR_RETURN(const std::string text, ReadFile(file));
    ASSIGN_OR_RETURN(const Authorities store, ParseAuthorities(file, text));
    return Verify(store.get(), chain.front().get(), chain, with);
  };
  ASSIGN_OR_RETURN(const bool known, fits(authorities, name));
  if (!known) {
    return absl::InvalidArgumentError(
        absl::StrCat("peer-name: ", certificate, " is not by an authority of ", authorities, " for the DNS name ", name,
                     " and for clients of TLS, so other servers would not know this one"));
  }
  ASSIGN_OR_RETURN(const bool let_in, fits(client_authorities, ""));
  if (!let_in) {
    return absl::InvalidArgumentError(absl::StrCat("tls-client-ca: ", client_authorities, " lacks the authority of ",
                                                   certificate, ", so other servers would be refused"));
  }
  return absl::OkStatus();
}

std::string EncodeCaller(const Identity& caller) {
  return absl::StrCat(caller.tenant.id, std::string(1, kBetween), caller.name);
}

absl::StatusOr<Identity> DecodeCaller(absl::string_view bytes) {
  const size_t between = bytes.find(kBetween);
  if (between != absl::string_view::npos) {
    const absl::string_view tenant = bytes.substr(0, between), name = bytes.substr(between + 1);
    if (IsPlainName(tenant) && (name.empty() || IsPlainName(name))) {
      return Identity{.tenant = {std::string(tenant)}, .name = std::string(name)};
    }
  }
  return MakeError(absl::StatusCode::kUnauthenticated, "another server names a caller that is none",
                   {.reason = Reason::kUnauthenticated});
}

}  // namespace longtake::server
