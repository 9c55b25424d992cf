#include "server/grpc/tls.h"

#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_credentials_options.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/access/known_servers.h"

namespace longtake::server {
namespace {

bool NoneNamed(const TlsOptions& options) {
  return options.certificate.empty() && options.key.empty() && options.client_authorities.empty();
}

unsigned ReloadSeconds(const TlsOptions& options) {
  return static_cast<unsigned>(std::max<int64_t>(1, absl::ToInt64Seconds(options.reload)));
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

absl::Status CheckPeers(const PeerOptions& peers, const TlsOptions& own) {
  if (!peers.authorities.empty()) {
    const std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> trial(SSL_CTX_new(TLS_client_method()), SSL_CTX_free);
    const bool read = SSL_CTX_load_verify_file(trial.get(), peers.authorities.c_str()) == 1;
    ERR_clear_error();
    if (!read) {
      return absl::InvalidArgumentError(
          absl::StrCat("peer-ca: ", peers.authorities, " has no certificates that can be read as PEM"));
    }
  }
  if (peers.name.empty()) return absl::OkStatus();
  for (const auto& [option, file] : {std::pair{"peer-ca", &peers.authorities},
                                     {"tls-cert", &own.certificate},
                                     {"tls-client-ca", &own.client_authorities}}) {
    if (file->empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat(option, ": is missing, without which servers cannot know each other by peer-name"));
    }
  }
  return CheckOwnCertificate(own.certificate, own.client_authorities, peers.authorities, peers.name);
}

absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> MakePeerCredentials(const PeerOptions& peers,
                                                                              const TlsOptions& own) {
  if (absl::Status status = CheckPeers(peers, own); !status.ok()) return status;
  if (peers.authorities.empty()) return grpc::InsecureChannelCredentials();
  using grpc::experimental::FileWatcherCertificateProvider;
  const unsigned seconds = ReloadSeconds(own);
  grpc::experimental::TlsChannelCredentialsOptions tls;
  if (peers.name.empty()) {
    tls.set_certificate_provider(std::make_shared<FileWatcherCertificateProvider>(peers.authorities, seconds));
  } else {
    tls.set_certificate_provider(
        std::make_shared<FileWatcherCertificateProvider>(own.key, own.certificate, peers.authorities, seconds));
    tls.watch_identity_key_cert_pairs();
  }
  tls.watch_root_certs();
  return grpc::experimental::TlsCredentials(tls);
}

absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> MakeCredentials(const TlsOptions& options) {
  if (NoneNamed(options)) return grpc::InsecureServerCredentials();
  if (absl::Status status = CheckTls(options); !status.ok()) return status;
  const unsigned seconds = ReloadSeconds(options);
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
