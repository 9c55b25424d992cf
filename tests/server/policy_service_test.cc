// A server that asks another process what may be made: one that refuses, is slow, dead, or comes back.
#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/mutex.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "longtake/policy/v1/policy_service.grpc.pb.h"
#include "tests/server/access_fixture.h"
#include "tests/server/http_client.h"

namespace longtake::server {
namespace {

namespace policy = longtake::policy::v1;
using nlohmann::json;
using testing::HasSubstr;
using testing::Not;
using Stub = v1::VideoService::Stub;

// A policy's service. It answers as it is told, and may keep its answers back.
class FakePolicy : public policy::PolicyService::CallbackService {
 public:
  using Answer = std::function<grpc::Status(const policy::CheckVideoRequest&, policy::CheckVideoResponse&)>;

  ~FakePolicy() override { Stop(); }
  // On any free port, or on that of before.
  void Start() {
    grpc::ServerBuilder builder;
    builder.AddListeningPort(address(), grpc::InsecureServerCredentials(), &port_);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
    ASSERT_NE(server_, nullptr);
  }
  void Stop() {
    if (server_ == nullptr) return;
    Release();
    server_->Shutdown(std::chrono::system_clock::now());
    server_->Wait();
    server_.reset();
  }
  std::string address() const { return absl::StrCat("127.0.0.1:", port_); }

  void Say(Answer answer) {
    const MutexLock lock(mutex_);
    answer_ = std::move(answer);
  }
  void Refuse(const std::string& category, const std::string& message) {
    Say([=](const policy::CheckVideoRequest&, policy::CheckVideoResponse& response) {
      response.set_decision(policy::DECISION_REFUSE);
      response.set_category(category);
      response.set_message(message);
      return grpc::Status::OK;
    });
  }
  void Allow() { Say(AllowAll); }
  // Keeps answers back until Release.
  void Hold() {
    const MutexLock lock(mutex_);
    holds_ = true;
  }
  void Release() {
    std::vector<std::function<void()>> held;
    {
      const MutexLock lock(mutex_);
      holds_ = false;
      held.swap(held_);
    }
    for (const auto& answer : held) answer();
  }
  std::vector<policy::CheckVideoRequest> asked() const {
    const MutexLock lock(mutex_);
    return asked_;
  }

  grpc::ServerUnaryReactor* CheckVideo(grpc::CallbackServerContext* context, const policy::CheckVideoRequest* request,
                                       policy::CheckVideoResponse* response) override {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    const MutexLock lock(mutex_);
    asked_.push_back(*request);
    const grpc::Status status = answer_(*request, *response);
    if (holds_) {
      held_.push_back([reactor, status] { reactor->Finish(status); });
    } else {
      reactor->Finish(status);
    }
    return reactor;
  }

 private:
  static grpc::Status AllowAll(const policy::CheckVideoRequest& /*request*/, policy::CheckVideoResponse& response) {
    response.set_decision(policy::DECISION_ALLOW);
    return grpc::Status::OK;
  }

  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
  mutable Mutex mutex_;
  Answer answer_ ABSL_GUARDED_BY(mutex_) = AllowAll;
  bool holds_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::function<void()>> held_ ABSL_GUARDED_BY(mutex_);
  std::vector<policy::CheckVideoRequest> asked_ ABSL_GUARDED_BY(mutex_);
};

class PolicyServiceTest : public AccessFixture {
 protected:
  void SetUp() override {
    AccessFixture::SetUp();
    logger.set_level(spdlog::level::trace);
    service.Start();
  }
  void TearDown() override {
    service.Release();
    AccessFixture::TearDown();
  }
  // The timeout is far away where a test is not about it.
  void StartServer(absl::Duration timeout = absl::Minutes(10), bool fail_open = false, FakeEngineOptions engine = {}) {
    ServerOptions options = WithTokens();
    options.http_listen = "127.0.0.1:0";
    options.studio.max_waiting = 100;  // nothing here is to be refused because of a full queue
    options.policy = {.service = service.address(), .timeout = timeout, .fail_open = fail_open};
    StartAndServe(std::move(engine), options);
  }
  static v1::CreateVideoRequest Asked(const std::string& request_id = "", double seconds = 1) {
    v1::CreateVideoRequest request;
    *request.mutable_spec() = Request(seconds).spec();
    request.mutable_spec()->set_prompt("an unmistakable ball");
    request.set_request_id(request_id);
    return request;
  }
  grpc::Status Create(const v1::CreateVideoRequest& request = Asked(), v1::Video* video = nullptr) {
    v1::Video made;
    return As("alice", &Stub::CreateVideo, request, video != nullptr ? *video : made);
  }
  HttpReply Ask(const std::string& method, const std::string& path, const std::string& body = {}) const {
    return HttpClient(server->http_port()).Ask(method, path, body, Header());
  }
  static std::string Header() { return absl::StrCat("Authorization: Bearer ", TokenOf("alice"), "\r\n"); }
  size_t Videos() { return Ask("GET", "/v1/videos").json()["data"].size(); }
  static std::string Http() { return R"({"prompt": "an unmistakable ball", "seconds": 1})"; }

  FakePolicy service;
};

TEST_F(PolicyServiceTest, EverythingThatMakesSomethingNewIsAskedAbout) {
  StartServer(absl::Minutes(10), false, {.delay = HoldBefore(PassKind::kCommit, 2, "the changes")});
  v1::Video video;
  ASSERT_TRUE(Create(Asked("", 2), &video).ok());
  const std::string path = absl::StrCat("/v1/", video.name());
  v1::ChangePromptRequest change;
  change.set_name(video.name());
  change.mutable_change()->set_prompt("a cube");
  *change.mutable_change()->mutable_at_offset() = ToProto(1.5);
  v1::ChangePromptResponse changed;
  ASSERT_TRUE(As("alice", &Stub::ChangePrompt, change, changed).ok());
  ASSERT_EQ(Ask("POST", path + "/prompt", R"({"prompt": "a cone", "at_seconds": 1.5})").status, 200);
  go_on = true;
  ASSERT_TRUE(HttpClient(server->http_port()).Ask("GET", path + "/stream.mp4", "", Header()).whole);
  v1::ForkVideoRequest fork;
  fork.set_name(video.name());
  fork.set_from_block(1);
  fork.set_prompt("a star");
  v1::Video forked;
  ASSERT_TRUE(As("alice", &Stub::ForkVideo, fork, forked).ok());
  ASSERT_EQ(Ask("POST", path + "/fork", R"({"from_block": 1, "prompt": "a moon"})").status, 200);
  ASSERT_EQ(Ask("POST", "/v1/videos", Http()).status, 200);
  v1::GenerateVideoRequest generate;
  *generate.mutable_spec() = Asked().spec();
  ASSERT_TRUE(GenerateAs("alice", generate).status.ok());
  ASSERT_EQ(Ask("POST", "/v1/quote", Http()).status, 200);  // makes nothing

  struct Expected {
    policy::Purpose purpose;
    std::string video, prompt, last_prompt;
  };
  const std::string first = "an unmistakable ball";
  const std::vector<Expected> expected = {{policy::PURPOSE_CREATE, "", first, first},
                                          {policy::PURPOSE_CHANGE_PROMPT, video.name(), "a cube", "a cube"},
                                          {policy::PURPOSE_CHANGE_PROMPT, video.name(), "a cone", "a cone"},
                                          {policy::PURPOSE_FORK, video.name(), first, "a star"},
                                          {policy::PURPOSE_FORK, video.name(), first, "a moon"},
                                          {policy::PURPOSE_CREATE, "", first, first},
                                          {policy::PURPOSE_CREATE, "", first, first}};
  const std::vector<policy::CheckVideoRequest> asked = service.asked();
  ASSERT_EQ(asked.size(), expected.size());
  for (size_t i = 0; i < asked.size(); ++i) {
    const v1::VideoSpec& spec = asked[i].spec();
    EXPECT_EQ(asked[i].tenant(), "acme") << i;
    EXPECT_EQ(asked[i].purpose(), expected[i].purpose) << i;
    EXPECT_EQ(asked[i].video(), expected[i].video) << i;
    EXPECT_EQ(spec.prompt(), expected[i].prompt) << i;
    const int changes = spec.prompt_changes_size();
    EXPECT_EQ(changes == 0 ? spec.prompt() : spec.prompt_changes(changes - 1).prompt(), expected[i].last_prompt) << i;
  }
  EXPECT_THAT(server->MetricsText(), HasSubstr("longtake_policy_answers_total{outcome=\"allowed\"} 7"));
}

TEST_F(PolicyServiceTest, OfWhatIsRefusedNothingIsKept) {
  StartServer(absl::Minutes(10), false, {.delay = HoldBefore(PassKind::kCommit, 2, "the refusals")});
  v1::Video video;
  ASSERT_TRUE(Create(Asked("", 2), &video).ok());
  const std::string path = absl::StrCat("/v1/", video.name());
  Await([&] { return Ask("GET", path).json()["made_blocks"] == 1; }, "the first block");
  service.Refuse("violence", "that unmistakable thing is not for here");
  const grpc::Status refused = Create(Asked("mine"));
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(ReasonOf(refused), "POLICY_REFUSED");
  EXPECT_EQ(DetailOf<google::rpc::ErrorInfo>(refused)->metadata().at("category"), "violence");
  EXPECT_THAT(refused.error_message(), HasSubstr("that unmistakable thing is not for here"));
  v1::GenerateVideoRequest generate;
  *generate.mutable_spec() = Asked().spec();
  EXPECT_EQ(ReasonOf(GenerateAs("alice", generate).status), "POLICY_REFUSED");
  for (const auto& [address, body] :
       std::vector<std::pair<std::string, std::string>>{{"/v1/videos", Http()},
                                                        {path + "/prompt", R"({"prompt": "a cube"})"},
                                                        {path + "/fork", R"({"from_block": 1, "prompt": "a star"})"}}) {
    const HttpReply reply = Ask("POST", address, body);
    EXPECT_EQ(reply.status, 403) << address;
    EXPECT_EQ(reply.json()["error"]["code"], "POLICY_REFUSED") << address;
  }
  EXPECT_EQ(Videos(), 1u);
  EXPECT_EQ(Ask("GET", path).json()["prompt_changes"].size(), 0u);
  EXPECT_THAT(server->MetricsText(), testing::AllOf(HasSubstr("longtake_policy_answers_total{outcome=\"refused\"} 5"),
                                                    HasSubstr("longtake_refusals_total{reason=\"policy_refused\"} 4")));
  // The request id is free, for another video too.
  service.Allow();
  EXPECT_TRUE(Create(Asked("mine", 2)).ok());
  go_on = true;
  server.reset();
  EXPECT_THAT(LogText(), Not(HasSubstr("unmistakable")));
}

TEST_F(PolicyServiceTest, WhatWasAcceptedIsNotAskedAboutAgain) {
  StartServer();
  v1::Video first, again;
  ASSERT_TRUE(Create(Asked("mine"), &first).ok());
  const std::string path = absl::StrCat("/v1/", first.name());
  ASSERT_TRUE(HttpClient(server->http_port()).Ask("GET", path + "/stream.mp4", "", Header()).whole);
  const std::string fork = R"({"from_block": 1, "prompt": "a star", "request_id": "my-fork"})";
  const HttpReply forked = Ask("POST", path + "/fork", fork);
  ASSERT_EQ(forked.status, 200) << forked.body;
  service.Refuse("violence", "");
  EXPECT_TRUE(Create(Asked("mine"), &again).ok());
  EXPECT_EQ(again.name(), first.name());
  EXPECT_EQ(Ask("POST", path + "/fork", fork).json()["id"], forked.json()["id"]);
  EXPECT_EQ(ReasonOf(Create(Asked("mine", 2))), "REQUEST_ID_REUSED");
  EXPECT_EQ(service.asked().size(), 2u);
  v1::CreateVideoRequest wrong = Asked();
  wrong.mutable_spec()->set_prompt("");
  EXPECT_EQ(ReasonOf(Create(wrong)), "INVALID_REQUEST");
  EXPECT_EQ(service.asked().size(), 2u) << "nor about what is wrong anyway";
}

TEST_F(PolicyServiceTest, ASlowServiceHoldsUpNobodyElse) {
  // More questions than gRPC and HTTP have threads.
  constexpr size_t kCalls = 24;
  StartServer();
  service.Hold();
  std::vector<std::unique_ptr<HttpClient>> over_http;
  std::vector<std::thread> over_grpc;
  std::atomic<size_t> accepted = 0;
  for (size_t i = 0; i < kCalls; ++i) {
    over_grpc.emplace_back([&] { accepted += Create().ok() ? 1 : 0; });
    over_http.push_back(std::make_unique<HttpClient>(server->http_port()));
    over_http.back()->Send(absl::StrCat("POST /v1/videos HTTP/1.1\r\nHost: localhost\r\nContent-Length: ",
                                        Http().size(), "\r\n", Header(), "\r\n", Http()));
  }
  Await([&] { return service.asked().size() == 2 * kCalls; }, "all questions");
  // None of them has been answered, and everything else works.
  EXPECT_EQ(Videos(), 0u);
  v1::ListVideosResponse videos;
  EXPECT_TRUE(As("alice", &Stub::ListVideos, v1::ListVideosRequest(), videos).ok());
  EXPECT_EQ(accepted, 0u);
  service.Release();
  for (std::thread& call : over_grpc) call.join();
  EXPECT_EQ(accepted, kCalls);
  for (const auto& client : over_http) EXPECT_EQ(client->Read().status, 200);
}

TEST_F(PolicyServiceTest, WithoutAnAnswerInTimeItIsRefused) {
  StartServer(absl::Milliseconds(50));
  service.Hold();
  const grpc::Status late = Create();
  EXPECT_EQ(late.error_code(), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(ReasonOf(late), "POLICY_UNAVAILABLE");
  EXPECT_EQ(DetailOf<google::rpc::RetryInfo>(late)->retry_delay().seconds(), 5);
  const HttpReply reply = Ask("POST", "/v1/videos", Http());
  EXPECT_EQ(reply.status, 403);
  EXPECT_EQ(reply.headers.at("retry-after"), "5");
  EXPECT_EQ(Videos(), 0u);
  EXPECT_THAT(server->MetricsText(), HasSubstr("longtake_policy_answers_total{outcome=\"failed\"} 2"));
}

TEST_F(PolicyServiceTest, OrMadeWhereTheOperatorWantsThat) {
  StartServer(absl::Milliseconds(50), /*fail_open=*/true);
  service.Hold();
  EXPECT_TRUE(Create().ok());
  EXPECT_EQ(Videos(), 1u);
}

TEST_F(PolicyServiceTest, AnAnswerThatIsNoneCountsAsNone) {
  StartServer();
  service.Say([](const policy::CheckVideoRequest& request, policy::CheckVideoResponse&) {
    return grpc::Status(grpc::StatusCode::INVALID_ARGUMENT, request.spec().prompt());
  });
  EXPECT_EQ(ReasonOf(Create()), "POLICY_UNAVAILABLE");
  service.Say([](const policy::CheckVideoRequest&, policy::CheckVideoResponse&) { return grpc::Status::OK; });
  EXPECT_EQ(ReasonOf(Create()), "POLICY_UNAVAILABLE");
  EXPECT_THAT(LogText(),
              testing::AllOf(HasSubstr("the call fails as INVALID_ARGUMENT"), Not(HasSubstr("unmistakable"))));
}

TEST_F(PolicyServiceTest, AServiceThatDiesAndComesBackIsFoundAgain) {
  StartServer(absl::Milliseconds(200));
  Await([&] { return Create().ok(); }, "an answer in time, on a busy machine too");
  service.Stop();
  EXPECT_EQ(ReasonOf(Create()), "POLICY_UNAVAILABLE");
  service.Start();
  Await([&] { return Create().ok(); }, "the service");
  EXPECT_THAT(LogText(), testing::AllOf(HasSubstr("the policy does not answer, so requests are refused"),
                                        HasSubstr("the policy answers again")));
}

TEST_F(PolicyServiceTest, ARequestWaitsForAServiceThatIsRestarted) {
  StartServer();
  service.Stop();
  std::thread call([&] { EXPECT_TRUE(Create().ok()); });
  service.Start();
  call.join();
}

TEST_F(PolicyServiceTest, QuestionsUnderWayEndWithTheServer) {
  for (const bool fail_open : {false, true}) {
    StartServer(absl::Minutes(10), fail_open);
    service.Hold();
    const size_t before = service.asked().size();
    std::thread call([&] { EXPECT_EQ(Create().error_code(), grpc::StatusCode::UNAVAILABLE); });
    HttpClient client(server->http_port());
    client.Send(absl::StrCat("POST /v1/videos HTTP/1.1\r\nHost: localhost\r\nContent-Length: ", Http().size(), "\r\n",
                             Header(), "\r\n", Http()));
    Await([&] { return service.asked().size() == before + 2; }, "both questions");
    server.reset();
    call.join();
    client.AwaitEnd();
    service.Release();
  }
}

}  // namespace
}  // namespace longtake::server
