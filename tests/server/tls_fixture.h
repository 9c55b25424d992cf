// Servers and clients with certificates.
#ifndef LONGTAKE_TESTS_SERVER_TLS_FIXTURE_H_
#define LONGTAKE_TESTS_SERVER_TLS_FIXTURE_H_

#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "tests/server/access_fixture.h"
#include "tests/server/test_keys.h"

namespace longtake::server {

// An authority with certificates that it has signed.
struct Authority {
  explicit Authority(std::string its_name) : name(std::move(its_name)) {}
  std::string Certificate() const { return MakeCertificate(key, {"", name}, key, {"", name}, /*authority=*/true); }
  std::string Sign(const TestKey& of, const Subject& subject) const {
    return MakeCertificate(of, subject, key, {"", name});
  }
  const std::string name;
  const TestKey key{"P-256"};
};

class TlsFixture : public AccessFixture {
 protected:
  // `dns`: a further name in the certificate.
  TlsOptions WriteServer(const Authority& by, const std::string& dns = "") const {
    return {.certificate = Write("cert.pem", by.Sign(server_key, {"", "server", dns})),
            .key = Write("key.pem", server_key.Pem())};
  }
  // Of a client that trusts `authority`; with a subject it has a certificate by `by`.
  std::shared_ptr<grpc::Channel> ChannelOf(const Authority& authority, const Authority* by = nullptr,
                                           const Subject& subject = {}) const {
    return ChannelTo(*server, authority, by, subject);
  }
  std::shared_ptr<grpc::Channel> ChannelTo(const Server& to, const Authority& authority, const Authority* by = nullptr,
                                           const Subject& subject = {}) const {
    grpc::SslCredentialsOptions options{.pem_root_certs = authority.Certificate()};
    if (by != nullptr) {
      options.pem_private_key = client_key.Pem();
      options.pem_cert_chain = by->Sign(client_key, subject);
    }
    // Channels of equal arguments share a connection.
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    return grpc::CreateCustomChannel(absl::StrCat("localhost:", to.port()), grpc::SslCredentials(options), arguments);
  }

  const Authority ca{"authority"}, other{"other"};
  const TestKey server_key{"P-256"}, client_key{"P-256"};
};

}  // namespace longtake::server

#endif  // LONGTAKE_TESTS_SERVER_TLS_FIXTURE_H_
