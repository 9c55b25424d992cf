#include "server/grpc/tls.h"

#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_credentials_options.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"

namespace longtake::server {
namespace {

bool NoneNamed(const TlsOptions& options) {
  return options.certificate.empty() && options.key.empty() && options.client_authorities.empty();
}

}  // namespace

absl::Status CheckTls(const TlsOptions& options) {
  if (NoneNamed(options)) return absl::OkStatus();
  if (options.certificate.empty()) return absl::InvalidArgumentError("tls-cert: is missing");
  if (options.key.empty()) return absl::InvalidArgumentError("tls-key: is missing");
  const std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> trial(SSL_CTX_new(TLS_server_method()), SSL_CTX_free);
  std::string wrong;
  if (SSL_CTX_use_certificate_chain_file(trial.get(), options.certificate.c_str()) != 1) {
    wrong = absl::StrCat("tls-cert: ", options.certificate, " has no certificates that can be read as PEM");
  } else if (SSL_CTX_use_PrivateKey_file(trial.get(), options.key.c_str(), SSL_FILETYPE_PEM) != 1) {
    wrong = absl::StrCat("tls-key: ", options.key, " has no key of ", options.certificate, " that can be read as PEM");
  } else if (!options.client_authorities.empty() &&
             SSL_CTX_load_verify_file(trial.get(), options.client_authorities.c_str()) != 1) {
    wrong = absl::StrCat("tls-client-ca: ", options.client_authorities, " has no certificates that can be read as PEM");
  }
  ERR_clear_error();
  return wrong.empty() ? absl::OkStatus() : absl::InvalidArgumentError(wrong);
}

absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> MakeCredentials(const TlsOptions& options) {
  if (NoneNamed(options)) return grpc::InsecureServerCredentials();
  if (absl::Status status = CheckTls(options); !status.ok()) return status;
  const auto seconds = static_cast<unsigned>(std::max<int64_t>(1, absl::ToInt64Seconds(options.reload)));
  grpc::experimental::TlsServerCredentialsOptions tls(
      std::make_shared<grpc::experimental::FileWatcherCertificateProvider>(options.key, options.certificate,
                                                                           options.client_authorities, seconds));
  tls.watch_identity_key_cert_pairs();
  if (!options.client_authorities.empty()) {
    tls.watch_root_certs();
    tls.set_cert_request_type(GRPC_SSL_REQUEST_CLIENT_CERTIFICATE_AND_VERIFY);
  }
  return grpc::experimental::TlsServerCredentials(tls);
}

}  // namespace longtake::server
