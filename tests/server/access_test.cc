// Who may call what, over real gRPC.
#include <utility>

#include "absl/strings/match.h"
#include "gmock/gmock.h"
#include "grpc/reflection/v1alpha/reflection.pb.h"
#include "gtest/gtest.h"
#include "tests/server/access_fixture.h"
#include "tests/server/fake_clock.h"
#include "tests/server/gate.h"
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

class QuotaTest : public AccessTest {
 protected:
  // The engine's passes wait for the gate, and then take a millisecond.
  void StartWith(const std::string& quotas, int max_sessions = 4) {
    gate.Close();
    ServerOptions options{.clock = &clock};
    options.quotas = Write("quotas", quotas);
    StartAndServe({.max_sessions = max_sessions,
                   .denoise = absl::Milliseconds(1),
                   .delay =
                       [this](const Pass&) {
                         gate.Pass();
                         return absl::ZeroDuration();
                       }},
                  WithTokens(std::move(options)));
  }
  void TearDown() override {
    gate.Open();
    AccessTest::TearDown();
  }
  grpc::Status Create(const std::string& caller, v1::Video* video = nullptr, const std::string& request_id = "") {
    v1::CreateVideoRequest request;
    *request.mutable_spec() = Request(1).spec();
    request.set_request_id(request_id);
    v1::Video made;
    const grpc::Status status = As(caller, &Stub::CreateVideo, request, made);
    if (video != nullptr) *video = made;
    return status;
  }
  static std::string QuotaOf(const grpc::Status& status) {
    if (status.ok()) return "";
    EXPECT_EQ(ReasonOf(status), "QUOTA_EXCEEDED") << status.error_message();
    return DetailOf<google::rpc::ErrorInfo>(status)->metadata().at("quota");
  }

  Gate gate;
  FakeClock clock;
};

TEST_F(QuotaTest, VideosOfATenantAreLimitedAndTheErrorSaysSo) {
  StartWith(R"({"acme": {"concurrent_videos": 1}})");
  v1::Video first;
  ASSERT_TRUE(Create("alice", &first, "id").ok());
  const grpc::Status refused = Create("bob");
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(QuotaOf(refused), "concurrent_videos");
  EXPECT_EQ(DetailOf<google::rpc::QuotaFailure>(refused)->violations(0).subject(), "tenants/acme");
  EXPECT_FALSE(DetailOf<google::rpc::RetryInfo>(refused).has_value());
  EXPECT_EQ(QuotaOf(GenerateAs("alice", Request(1)).status), "concurrent_videos");
  EXPECT_TRUE(Create("carol").ok());
  // A call that is repeated asks for nothing new.
  EXPECT_TRUE(Create("alice", nullptr, "id").ok());
  v1::CancelVideoRequest cancel;
  cancel.set_name(first.name());
  v1::Video video;
  ASSERT_TRUE(As("alice", &Stub::CancelVideo, cancel, video).ok());
  gate.Open();
  Await([&] { return Create("alice").ok(); }, "the video's end");
  v1::ListVideosResponse videos;
  ASSERT_TRUE(As("alice", &Stub::ListVideos, v1::ListVideosRequest(), videos).ok());
  EXPECT_EQ(videos.videos_size(), 2);  // of refused ones nothing is left
}

TEST_F(QuotaTest, WhatWaitsIsLimited) {
  StartWith(R"({"acme": {"queue_share": 0.1}})", /*max_sessions=*/1);
  ASSERT_TRUE(Create("alice").ok());
  ASSERT_TRUE(Create("alice").ok());  // waits
  Await([&] { return absl::StrContains(server->MetricsText(), "longtake_queue_length{delivery=\"live\"} 1"); }, "it");
  EXPECT_EQ(QuotaOf(Create("alice")), "queue_share");
  EXPECT_TRUE(Create("carol").ok());
}

TEST_F(QuotaTest, CallsASecondSayWhenToTryAgain) {
  StartWith(R"({"acme": {"calls_a_second": 1}})");
  v1::ListVideosResponse videos;
  EXPECT_TRUE(As("alice", &Stub::ListVideos, v1::ListVideosRequest(), videos).ok());
  const grpc::Status refused = As("bob", &Stub::ListVideos, v1::ListVideosRequest(), videos);
  EXPECT_EQ(QuotaOf(refused), "calls_a_second");
  EXPECT_EQ(DetailOf<google::rpc::RetryInfo>(refused)->retry_delay().seconds(), 1);
  clock.Advance(absl::Seconds(1));
  EXPECT_TRUE(As("bob", &Stub::ListVideos, v1::ListVideosRequest(), videos).ok());
  EXPECT_EQ(QuotaOf(Call(channel, kReflection, "alice")), "calls_a_second");
  EXPECT_EQ(Health(), 1);
}

TEST_F(QuotaTest, WatchesAreLimitedWhileTheyLast) {
  StartWith(R"({"acme": {"watches": 1}})");
  v1::Video video;
  ASSERT_TRUE(Create("alice", &video).ok());
  v1::WatchVideoRequest watch;
  watch.set_name(video.name());
  grpc::ClientContext context;
  Say(context, "alice");
  const auto first = stub->WatchVideo(&context, watch);
  v1::WatchVideoResponse event;
  ASSERT_TRUE(first->Read(&event));
  EXPECT_EQ(QuotaOf(WatchAs("bob", watch).status), "watches");
  EXPECT_EQ(QuotaOf(GenerateAs("bob", Request(1)).status), "watches");
  EXPECT_EQ(ReasonOf(WatchAs("carol", watch).status), "VIDEO_NOT_FOUND");
  context.TryCancel();
  while (first->Read(&event)) {
  }
  first->Finish();
  watch.set_follow(false);
  Await([&] { return WatchAs("bob", watch).status.ok(); }, "the first watch's end");
}

TEST_F(QuotaTest, DeviceTimeIsCharged) {
  StartWith(R"({"acme": {"device_seconds_a_day": 0.005}})");
  gate.Open();
  ASSERT_TRUE(GenerateAs("alice", Request(1)).status.ok());
  const grpc::Status refused = Create("bob");
  EXPECT_EQ(QuotaOf(refused), "device_seconds_a_day");
  EXPECT_GT(DetailOf<google::rpc::RetryInfo>(refused)->retry_delay().seconds(), 23 * 3600);
}

TEST_F(AccessTest, AServerThatAsksNobodySaysSo) {
  StartAndServe();
  server.reset();
  EXPECT_THAT(LogText(), HasSubstr("callers are not asked who they are"));
  const size_t before = LogText().size();
  StartAndServe({}, WithTokens());
  server.reset();
  const std::string after = LogText().substr(before);
  EXPECT_THAT(after, Not(HasSubstr("callers are not asked")));
  EXPECT_THAT(after, HasSubstr("connections are not encrypted"));
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
