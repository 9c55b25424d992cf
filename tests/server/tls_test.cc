// Encrypted connections, and clients that a certificate identifies.
#include "clients/cli/connect.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/access_fixture.h"

namespace longtake::server {
namespace {

using testing::HasSubstr;

constexpr char kListModels[] = "/longtake.v1.ModelService/ListModels";

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

class TlsTest : public AccessFixture {
 protected:
  TlsOptions WriteServer(const Authority& by) const {
    return {.certificate = Write("cert.pem", by.Sign(server_key, {"", "server"})),
            .key = Write("key.pem", server_key.Pem())};
  }
  // Of a client that trusts `authority`; with a subject it has a certificate by `by`.
  std::shared_ptr<grpc::Channel> ChannelOf(const Authority& authority, const Authority* by = nullptr,
                                           const Subject& subject = {}) const {
    grpc::SslCredentialsOptions options{.pem_root_certs = authority.Certificate()};
    if (by != nullptr) {
      options.pem_private_key = client_key.Pem();
      options.pem_cert_chain = by->Sign(client_key, subject);
    }
    // Channels of equal arguments share a connection.
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    return grpc::CreateCustomChannel(absl::StrCat("localhost:", server->port()), grpc::SslCredentials(options),
                                     arguments);
  }

  const Authority ca{"authority"}, other{"other"};
  const TestKey server_key{"P-256"}, client_key{"P-256"};
};

TEST_F(TlsTest, AClientThatTrustsTheAuthorityIsServed) {
  StartAndServe({}, WithTokens({.tls = WriteServer(ca)}));
  EXPECT_TRUE(Call(ChannelOf(ca), kListModels, "alice").ok());
  EXPECT_EQ(ReasonOf(Call(ChannelOf(ca), kListModels, "")), "UNAUTHENTICATED");
  EXPECT_EQ(Call(ChannelOf(other), kListModels, "alice").error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(Call(channel, kListModels, "alice").error_code(), grpc::StatusCode::UNAVAILABLE);  // plain text
  channel = ChannelOf(ca);
  EXPECT_EQ(Health(), 1);
}

TEST_F(TlsTest, ACertificateIdentifiesItsClient) {
  TlsOptions tls = WriteServer(ca);
  tls.client_authorities = Write("clients.pem", ca.Certificate());
  StartAndServe({}, {.tls = tls});
  EXPECT_TRUE(Call(ChannelOf(ca, &ca, {"acme", "alice"}), kListModels, "").ok());
  EXPECT_EQ(ReasonOf(Call(ChannelOf(ca, &ca, {"", "alice"}), kListModels, "")), "UNAUTHENTICATED");
  EXPECT_EQ(Call(ChannelOf(ca, &other, {"acme", "alice"}), kListModels, "").error_code(),
            grpc::StatusCode::UNAVAILABLE);
  // A probe has no certificate.
  EXPECT_EQ(ReasonOf(Call(ChannelOf(ca), kListModels, "")), "UNAUTHENTICATED");
  channel = ChannelOf(ca);
  EXPECT_EQ(Health(), 1);
}

TEST_F(TlsTest, OurClientShowsItsTokenOrItsCertificate) {
  TlsOptions tls = WriteServer(ca);
  tls.client_authorities = Write("clients.pem", ca.Certificate());
  StartAndServe({}, WithTokens({.tls = tls}));
  client::ServerFlags flags{.address = absl::StrCat("localhost:", server->port()),
                            .ca = Write("ca.pem", ca.Certificate())};
  const auto status = [&flags] {
    const absl::StatusOr<client::Target> target = client::ReadTarget(flags);
    EXPECT_TRUE(target.ok()) << target.status();
    v1::ListModelsResponse response;
    grpc::ClientContext context;
    return v1::ModelService::NewStub(client::Connect(*target, /*own=*/true))->ListModels(&context, {}, &response);
  };
  EXPECT_EQ(ReasonOf(status()), "UNAUTHENTICATED");
  flags.token = TokenOf("alice");
  EXPECT_TRUE(status().ok());
  flags.token = "";
  flags.cert = Write("client.pem", ca.Sign(client_key, {"acme", "alice"}));
  flags.key = Write("client_key.pem", client_key.Pem());
  EXPECT_TRUE(status().ok());

  server.reset();
  StartAndServe({}, WithTokens());
  flags = {.address = absl::StrCat("127.0.0.1:", server->port()), .token = TokenOf("alice")};
  EXPECT_TRUE(status().ok());  // plain text, to this machine
}

TEST_F(TlsTest, WithoutClientAuthoritiesACertificateSaysNothing) {
  StartAndServe({}, WithTokens({.tls = WriteServer(ca)}));
  EXPECT_EQ(ReasonOf(Call(ChannelOf(ca, &ca, {"acme", "alice"}), kListModels, "")), "UNAUTHENTICATED");
}

TEST_F(TlsTest, CertificatesAreExchangedWithoutARestart) {
  TlsOptions tls = WriteServer(ca);
  tls.client_authorities = Write("clients.pem", ca.Certificate());
  StartAndServe({}, {.tls = tls});
  const std::shared_ptr<grpc::Channel> before = ChannelOf(ca, &ca, {"acme", "alice"});
  EXPECT_TRUE(Call(before, kListModels, "").ok());
  // A key that is not the certificate's: nobody new gets in until the two match again.
  Write("key.pem", client_key.Pem());
  Await([&] { return !Call(ChannelOf(ca, &ca, {"acme", "alice"}), kListModels, "").ok(); }, "the wrong key");
  WriteServer(other);
  Write("clients.pem", other.Certificate());
  Await([&] { return Call(ChannelOf(other, &other, {"acme", "alice"}), kListModels, "").ok(); }, "the new files");
  EXPECT_EQ(Call(ChannelOf(ca, &ca, {"acme", "alice"}), kListModels, "").error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_TRUE(Call(before, kListModels, "").ok());  // connections that there are go on
}

TEST_F(TlsTest, WrongFilesAreNamed) {
  const auto start = [this](const TlsOptions& tls) {
    ServerOptions options{.listen = "127.0.0.1:0"};
    options.tls = tls;
    return std::string(Server::Start(options, &logger).status().message());
  };
  const TlsOptions right = WriteServer(ca);
  TlsOptions tls = right;
  tls.key = "";
  EXPECT_EQ(start(tls), "tls-key: is missing");
  EXPECT_EQ(start({.client_authorities = right.certificate}), "tls-cert: is missing");
  tls = right;
  tls.certificate = right.key;
  EXPECT_THAT(start(tls), HasSubstr(absl::StrCat("tls-cert: ", right.key)));
  tls = right;
  tls.key = Write("other.pem", client_key.Pem());
  EXPECT_THAT(start(tls), HasSubstr(absl::StrCat("tls-key: ", tls.key)));
  tls = right;
  tls.client_authorities = "/no/such/file";
  EXPECT_THAT(start(tls), HasSubstr("tls-client-ca: /no/such/file"));
}

}  // namespace
}  // namespace longtake::server
