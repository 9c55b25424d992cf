// Who may call what, over real gRPC.
#include "absl/strings/match.h"
#include "gmock/gmock.h"
#include "grpc/reflection/v1alpha/reflection.pb.h"
#include "gtest/gtest.h"
#include "tests/server/access_fixture.h"
#include "tests/server/http_get.h"

namespace longtake::server {
namespace {

using google::protobuf::DescriptorPool;
using google::protobuf::ServiceDescriptor;
using grpc::reflection::v1alpha::ServerReflectionRequest;
using grpc::reflection::v1alpha::ServerReflectionResponse;
using testing::HasSubstr;
using testing::Not;

constexpr char kReflection[] = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";
using Stub = v1::VideoService::Stub;

class AccessTest : public AccessFixture {
 protected:
  // Of all services, as the server describes itself.
  std::vector<std::string> Methods() {
    ServerReflectionRequest request;
    request.set_list_services("*");
    std::string bytes;
    EXPECT_TRUE(Call(channel, kReflection, "alice", request.SerializeAsString(), &bytes).ok());
    ServerReflectionResponse response;
    EXPECT_TRUE(response.ParseFromString(bytes));
    std::vector<std::string> methods;
    for (const auto& service : response.list_services_response().service()) {
      if (service.name() == "grpc.health.v1.Health") continue;  // answers everybody, and has no descriptor
      const ServiceDescriptor* found = DescriptorPool::generated_pool()->FindServiceByName(service.name());
      EXPECT_NE(found, nullptr) << service.name();
      for (int i = 0; found != nullptr && i < found->method_count(); ++i) {
        methods.push_back(absl::StrCat("/", service.name(), "/", found->method(i)->name()));
      }
    }
    return methods;
  }
};

TEST_F(AccessTest, EveryMethodRefusesWhoDoesNotSayWhoHeIs) {
  StartAndServe({}, WithTokens());
  const std::vector<std::string> methods = Methods();
  EXPECT_THAT(methods,
              testing::IsSupersetOf({std::string("/longtake.v1.VideoService/ForkVideo"),
                                     std::string("/longtake.v1.ModelService/ListModels"), std::string(kReflection)}));
  for (const std::string& method : methods) {
    for (const char* caller : {"", "mallory"}) {
      const grpc::Status status = Call(channel, method, caller);
      EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAUTHENTICATED) << method << " " << status.error_message();
      EXPECT_EQ(ReasonOf(status), "UNAUTHENTICATED") << method;
      EXPECT_THAT(status.error_message(), Not(HasSubstr("secret"))) << method;
    }
    // The control: with a token none of them says so.
    EXPECT_NE(Call(channel, method, "alice").error_code(), grpc::StatusCode::UNAUTHENTICATED) << method;
  }
  EXPECT_EQ(Health(), 1);
  EXPECT_EQ(Health("readiness"), 1);
}

TEST_F(AccessTest, WhoIsAskingComesBeforeWhetherTheModelIsThere) {
  Start({}, WithTokens());
  v1::Video video;
  EXPECT_EQ(ReasonOf(As("", &Stub::GetVideo, v1::GetVideoRequest(), video)), "UNAUTHENTICATED");
  EXPECT_EQ(ReasonOf(As("alice", &Stub::GetVideo, v1::GetVideoRequest(), video)), "MODEL_LOADING");
}

TEST_F(AccessTest, TwoTokensInACallAreRefused) {
  StartAndServe({}, WithTokens());
  grpc::ClientContext context;
  Say(context, "alice");
  Say(context, "carol");
  v1::ListModelsResponse response;
  EXPECT_EQ(ReasonOf(models->ListModels(&context, {}, &response)), "UNAUTHENTICATED");
}

TEST_F(AccessTest, WithATokenAVideoIsMade) {
  StartAndServe({}, WithTokens());
  const Watched video = GenerateAs("alice", Request(1));
  EXPECT_TRUE(video.status.ok()) << video.status.error_message();
  EXPECT_EQ(ReasonOf(Generate(Request(1)).status), "UNAUTHENTICATED");
  EXPECT_THAT(server->MetricsText(), HasSubstr("longtake_refusals_total{reason=\"unauthenticated\"} 1"));
}

TEST_F(AccessTest, ATokenThatIsTakenAwayIsRefusedFromTheNextSecondOn) {
  StartAndServe({}, WithTokens());
  v1::ListVideosResponse videos;
  ASSERT_TRUE(As("carol", &Stub::ListVideos, v1::ListVideosRequest(), videos).ok());
  Write("tokens", absl::StrCat("acme alice ", Sha256Hex(TokenOf("alice")), "\n"));
  Await([&] { return !As("carol", &Stub::ListVideos, v1::ListVideosRequest(), videos).ok(); }, "the new file");
  EXPECT_TRUE(As("alice", &Stub::ListVideos, v1::ListVideosRequest(), videos).ok());
}

TEST_F(AccessTest, MetricsNeedATokenAndProbesDoNot) {
  StartAndServe({}, WithTokens({.metrics_listen = "127.0.0.1:0"}));
  const int port = server->metrics_port();
  EXPECT_THAT(HttpGet(port, "/metrics"),
              testing::AllOf(HasSubstr("401 Unauthorized"), HasSubstr("WWW-Authenticate: Bearer"),
                             Not(HasSubstr("longtake_"))));
  EXPECT_THAT(HttpGet(port, "/metrics", "Authorization: Bearer wrong\r\n"), HasSubstr("401 Unauthorized"));
  EXPECT_THAT(HttpGet(port, "/metrics", absl::StrCat("Authorization: Bearer ", TokenOf("alice"), "\r\n")),
              testing::AllOf(HasSubstr("200 OK"), HasSubstr("longtake_sessions")));
  for (const char* probe : {"/livez", "/readyz", "/startupz"}) EXPECT_THAT(HttpGet(port, probe), HasSubstr("200 OK"));
}

TEST_F(AccessTest, ProductionHasNoReflection) {
  StartAndServe({}, WithTokens({.production = true}));
  EXPECT_EQ(Call(channel, kReflection, "alice").error_code(), grpc::StatusCode::UNIMPLEMENTED);
}

TEST_F(AccessTest, ReflectionDescribesFilesAndWhatTheyImport) {
  StartAndServe();
  ServerReflectionRequest request;
  request.set_file_containing_symbol("longtake.v1.VideoService");
  std::string bytes;
  ASSERT_TRUE(Call(channel, kReflection, "", request.SerializeAsString(), &bytes).ok());
  ServerReflectionResponse response;
  ASSERT_TRUE(response.ParseFromString(bytes));
  // A client can build them in this order.
  DescriptorPool pool;
  for (const std::string& file : response.file_descriptor_response().file_descriptor_proto()) {
    google::protobuf::FileDescriptorProto proto;
    ASSERT_TRUE(proto.ParseFromString(file));
    EXPECT_NE(pool.BuildFile(proto), nullptr) << proto.name();
  }
  EXPECT_NE(pool.FindMethodByName("longtake.v1.VideoService.ForkVideo"), nullptr);

  request.set_file_containing_symbol("longtake.v1.Nothing");
  bytes.clear();
  ASSERT_TRUE(Call(channel, kReflection, "", request.SerializeAsString(), &bytes).ok());
  ASSERT_TRUE(response.ParseFromString(bytes));
  EXPECT_EQ(response.error_response().error_code(), static_cast<int>(grpc::StatusCode::NOT_FOUND));
}

TEST_F(AccessTest, AServerThatAsksNobodySaysSo) {
  StartAndServe();
  EXPECT_THAT(log.str(), HasSubstr("callers are not asked who they are"));
  server.reset();
  log.str("");
  StartAndServe({}, WithTokens());
  EXPECT_THAT(log.str(), Not(HasSubstr("callers are not asked")));
  EXPECT_THAT(log.str(), HasSubstr("connections are not encrypted"));
}

TEST_F(AccessTest, AWrongFileEndsTheStart) {
  ServerOptions options;
  options.listen = "127.0.0.1:0";
  options.access.tokens = Write("tokens", "acme alice\n");
  EXPECT_THAT(std::string(Server::Start(options, &logger).status().message()),
              HasSubstr(absl::StrCat(options.access.tokens, ": line 1")));
}

}  // namespace
}  // namespace longtake::server
