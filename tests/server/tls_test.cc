// Encrypted connections, and clients that a certificate identifies.
#include "clients/cli/connect.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/tls_fixture.h"

namespace longtake::server {
namespace {

using testing::HasSubstr;

constexpr char kListModels[] = "/longtake.v1.ModelService/ListModels";

using TlsTest = TlsFixture;

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
