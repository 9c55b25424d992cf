// Clients that only a certificate identifies, at a server that passes their calls on.
#include <filesystem>
#include <memory>
#include <string>
#include <utility>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/gate.h"
#include "tests/server/redis_server.h"
#include "tests/server/tls_fixture.h"

namespace longtake::server {
namespace {

using testing::HasSubstr;

constexpr char kName[] = "servers.longtake";

class PeerIdentityTest : public TlsFixture {
 protected:
  void TearDown() override {
    gate.Open();
    maker.reset();
    TlsFixture::TearDown();
  }
  // One authority has signed the certificates of all, servers and clients: the hardest case.
  ServerOptions Options(const std::string& name) const {
    ServerOptions options;
    options.tls = WriteServer(ca, kName);
    options.tls.client_authorities = options.peer_ca = Write("ca.pem", ca.Certificate());
    options.peer_name = name;
    options.store = folder + "/store";
    options.registry = redis.url();
    options.lease = absl::Minutes(10);
    return options;
  }
  // `maker` makes a video of alice's, and `server` is asked about it.
  void StartTwo(const ServerOptions& options) {
    gate.Close();
    StartAndServe({.delay =
                       [this](const Pass& pass) {
                         if (pass.kind == PassKind::kCommit) gate.Pass();
                         return absl::ZeroDuration();
                       }},
                  options);
    maker = std::move(server);
    v1::CreateVideoRequest request;
    *request.mutable_spec() = longtake::server::Request(2).spec();
    grpc::ClientContext context;
    v1::Video video;
    const grpc::Status status =
        StubOf(ChannelTo(*maker, ca, &ca, {"acme", "alice"}))->CreateVideo(&context, request, &video);
    ASSERT_TRUE(status.ok()) << status.error_message();
    name = video.name();
    StartAndServe({}, options);
  }
  static std::unique_ptr<v1::VideoService::Stub> StubOf(const std::shared_ptr<grpc::Channel>& to) {
    return v1::VideoService::NewStub(to);
  }
  grpc::Status Get(const std::shared_ptr<grpc::Channel>& at,
                   const std::multimap<std::string, std::string>& metadata = {}) {
    grpc::ClientContext context;
    for (const auto& [key, value] : metadata) context.AddMetadata(key, value);
    v1::GetVideoRequest request;
    request.set_name(name);
    v1::Video video;
    return StubOf(at)->GetVideo(&context, request, &video);
  }

  RedisServer redis;
  Gate gate;
  std::unique_ptr<Server> maker;
  std::string name;
};

TEST_F(PeerIdentityTest, ACertificateIsEnoughAtAnyServer) {
  StartTwo(Options(kName));
  const std::shared_ptr<grpc::Channel> alice = ChannelOf(ca, &ca, {"acme", "alice"});
  const grpc::Status found = Get(alice);
  EXPECT_TRUE(found.ok()) << found.error_message();
  EXPECT_EQ(ReasonOf(Get(ChannelOf(ca, &ca, {"umbrella", "carol"}))), "VIDEO_NOT_FOUND");
  EXPECT_EQ(ReasonOf(Get(ChannelOf(ca))), "UNAUTHENTICATED");
  v1::WatchVideoRequest request;
  request.set_name(name);
  request.set_follow(true);
  grpc::ClientContext context;
  const Watched watched = ReadAll(context, *StubOf(alice)->WatchVideo(&context, request),
                                  [&](const v1::WatchVideoResponse&, grpc::ClientContext&) { gate.Open(); });
  EXPECT_TRUE(watched.status.ok()) << watched.status.error_message();
  EXPECT_TRUE(engine->ran().empty());
}

TEST_F(PeerIdentityTest, AVideoOfWhichTheStoreHasNothingIsItsTenantsToo) {
  StartTwo(Options(kName));
  std::filesystem::remove_all(folder + "/store/" + name);
  EXPECT_TRUE(Get(ChannelOf(ca, &ca, {"acme", "alice"})).ok());
  const std::shared_ptr<grpc::Channel> carol = ChannelOf(ca, &ca, {"umbrella", "carol"});
  const grpc::Status others = Get(carol);
  const std::string theirs = std::exchange(name, "videos/00000000000000000000000000000000");
  const grpc::Status none = Get(carol);
  EXPECT_EQ(ReasonOf(others), "VIDEO_NOT_FOUND");
  EXPECT_EQ(others.error_code(), none.error_code());
  EXPECT_EQ(others.error_message(), "there is no " + theirs);
}

TEST_F(PeerIdentityTest, NobodyButAServerSaysWhoIsCalling) {
  StartTwo(Options(kName));
  const std::multimap<std::string, std::string> claim = {{"x-longtake-caller-bin", "acme\nalice"},
                                                         {"x-longtake-passed-on", "1"}};
  for (const Server* at : {server.get(), maker.get()}) {
    // The control: a certificate with the servers' name is believed.
    EXPECT_TRUE(Get(ChannelTo(*maker, ca, &ca, {"", "x", kName}), claim).ok());
    EXPECT_EQ(ReasonOf(Get(ChannelTo(*at, ca, &ca, {"umbrella", "carol"}), claim)), "UNAUTHENTICATED");
    EXPECT_EQ(ReasonOf(Get(ChannelTo(*at, ca, &ca, {"umbrella", kName, "other.longtake"}), claim)), "UNAUTHENTICATED");
    EXPECT_EQ(ReasonOf(Get(ChannelTo(*at, ca), claim)), "UNAUTHENTICATED") << "without a certificate";
    EXPECT_EQ(Get(ChannelTo(*at, ca, &other, {"", "x", kName}), claim).error_code(), grpc::StatusCode::UNAVAILABLE);
    // Not even its own name: nothing would tell the two apart.
    EXPECT_EQ(ReasonOf(Get(ChannelTo(*at, ca, &ca, {"acme", "alice"}), {{"x-longtake-caller-bin", "acme\nalice"}})),
              "UNAUTHENTICATED");
  }
  const std::shared_ptr<grpc::Channel> as_server = ChannelTo(*maker, ca, &ca, {"", "x", kName});
  EXPECT_EQ(ReasonOf(Get(as_server, {{"x-longtake-caller-bin", "acme\nalice"}})), "UNAUTHENTICATED") << "no mark";
  EXPECT_EQ(ReasonOf(Get(ChannelTo(*maker, ca, &ca, {"acme", "x", kName}), {{"x-longtake-passed-on", "1"}})),
            "UNAUTHENTICATED")
      << "a server is no caller itself";
  EXPECT_EQ(ReasonOf(Get(as_server, {{"x-longtake-caller-bin", "acme"}, {"x-longtake-passed-on", "1"}})),
            "UNAUTHENTICATED");
  EXPECT_EQ(ReasonOf(Get(as_server, {{"x-longtake-caller-bin", "acme\nalice"},
                                     {"x-longtake-caller-bin", "umbrella\ncarol"},
                                     {"x-longtake-passed-on", "1"}})),
            "UNAUTHENTICATED");
  EXPECT_EQ(ReasonOf(Get(as_server, {{"x-longtake-caller-bin", "umbrella\ncarol"}, {"x-longtake-passed-on", "1"}})),
            "VIDEO_NOT_FOUND");
}

TEST_F(PeerIdentityTest, WithoutANameTheClientIsToldWhomToAsk) {
  StartTwo(Options(""));
  const grpc::Status told = Get(ChannelOf(ca, &ca, {"acme", "alice"}));
  EXPECT_EQ(ReasonOf(told), "OTHER_SERVER");
  const auto info = DetailOf<google::rpc::ErrorInfo>(told);
  ASSERT_TRUE(info.has_value());
  EXPECT_EQ(info->metadata().at("server"), absl::StrCat("127.0.0.1:", maker->port()));
  EXPECT_TRUE(Get(ChannelTo(*maker, ca, &ca, {"acme", "alice"})).ok());
  EXPECT_EQ(ReasonOf(Get(ChannelTo(*maker, ca, &ca, {"", "x", kName}),
                         {{"x-longtake-caller-bin", "acme\nalice"}, {"x-longtake-passed-on", "1"}})),
            "UNAUTHENTICATED")
      << "no server has a name";
}

TEST_F(PeerIdentityTest, ACallThatIsPassedOnCountsOnce) {
  ServerOptions options = Options(kName);
  // A bucket of one call, which is full again in a quarter of an hour.
  options.quotas = Write("quotas", R"({"*": {"calls_a_second": 0.001}})");
  StartTwo(options);  // has taken the maker's one
  const std::shared_ptr<grpc::Channel> alice = ChannelOf(ca, &ca, {"acme", "alice"});
  const grpc::Status first = Get(alice);
  EXPECT_TRUE(first.ok()) << first.error_message();
  EXPECT_EQ(ReasonOf(Get(alice)), "QUOTA_EXCEEDED");
  EXPECT_EQ(ReasonOf(Get(ChannelTo(*maker, ca, &ca, {"acme", "alice"}), {{"x-longtake-passed-on", "1"}})),
            "QUOTA_EXCEEDED")
      << "a client's mark changes nothing";
}

TEST_F(PeerIdentityTest, WhatIsMissingForANameIsNamed) {
  const auto start = [this](const ServerOptions& options) {
    return std::string(Server::Start(options, &logger).status().message());
  };
  ServerOptions options = Options(kName);
  options.listen = "127.0.0.1:0";
  options.peer_ca = "";
  EXPECT_THAT(start(options), HasSubstr("peer-ca: is missing"));
  options = Options(kName);
  options.tls.client_authorities = "";
  EXPECT_THAT(start(options), HasSubstr("tls-client-ca: is missing"));
  options = Options(kName);
  options.tls = {};
  EXPECT_THAT(start(options), HasSubstr("tls-cert: is missing"));
  options = Options("another.name");
  EXPECT_THAT(start(options), HasSubstr("peer-name: "));
  options = Options(kName);
  options.tls.client_authorities = Write("clients.pem", other.Certificate());
  EXPECT_THAT(start(options), HasSubstr("tls-client-ca: "));
  options = Options(kName);
  options.peer_ca = options.tls.key;
  EXPECT_THAT(start(options), HasSubstr("peer-ca: "));
}

}  // namespace
}  // namespace longtake::server
