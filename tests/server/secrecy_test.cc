// Tokens and prompts stand in no log, no metric and no error.
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/telemetry/log_format.h"
#include "tests/server/access_fixture.h"
#include "tests/server/fake_clock.h"
#include "tests/server/gate.h"
#include "tests/server/http_client.h"

namespace longtake::server {
namespace {

using testing::HasSubstr;
using testing::Not;
using Stub = v1::VideoService::Stub;

// Each secret has this in it, so that one search finds all.
constexpr char kNeedle[] = "unmistakable";

class SecrecyTest : public AccessFixture {
 protected:
  void SetUp() override {
    AccessFixture::SetUp();
    logger.set_level(spdlog::level::trace);
    logger.set_formatter(MakeLogFormatter(LogFormat::kJson));
  }
  void StartWithAll() {
    ServerOptions options{
        .metrics_listen = "127.0.0.1:0", .http_listen = "127.0.0.1:0", .store = folder + "/store", .clock = &clock};
    options.access.tokens = Write("tokens", absl::StrCat("acme alice ", Sha256Hex(token), "\numbrella carol ",
                                                         Sha256Hex(TokenOf("carol")), "\n"));
    options.access.jwt = {
        .keys = Write("jwks", nlohmann::json({{"keys", nlohmann::json::array({key.Jwk("k")})}}).dump()),
        .issuer = "issuer",
        .audience = "longtake"};
    options.quotas = Write("quotas", R"({"acme": {"concurrent_videos": 2}})");
    StartAndServe({.delay =
                       [this](const Pass&) {
                         gate.Pass();
                         return absl::ZeroDuration();
                       }},
                  options);
  }
  void TearDown() override {
    gate.Open();
    AccessFixture::TearDown();
  }
  // What a status says, kept for the search; the status.
  grpc::Status Keep(const grpc::Status& status) {
    absl::StrAppend(&said, status.error_message(), status.error_details());
    return status;
  }
  // A call with this authorization.
  grpc::Status List(const std::string& authorization) {
    grpc::ClientContext context;
    context.AddMetadata("authorization", authorization);
    v1::ListVideosResponse response;
    return Keep(stub->ListVideos(&context, {}, &response));
  }
  v1::GenerateVideoRequest Asked(double seconds) const {
    v1::GenerateVideoRequest request = Request(seconds);
    request.mutable_spec()->set_prompt(absl::StrCat("a ball, ", kNeedle));
    auto* change = request.mutable_spec()->add_prompt_changes();
    change->set_prompt(absl::StrCat("a cube, ", kNeedle));
    *change->mutable_at_offset() = ToProto(0.7);
    return request;
  }
  template <typename Method, typename Request, typename Response>
  grpc::Status Alice(Method method, const Request& request, Response& response) {
    grpc::ClientContext context;
    context.AddMetadata("authorization", "Bearer " + token);
    return Keep((stub.get()->*method)(&context, request, &response));
  }
  Watched GenerateAsAlice(const v1::GenerateVideoRequest& request, const OnEvent& on_event = nullptr) {
    grpc::ClientContext context;
    context.AddMetadata("authorization", "Bearer " + token);
    Watched video = ReadAll(context, *stub->GenerateVideo(&context, request), on_event);
    Keep(video.status);
    return video;
  }

  Gate gate;
  FakeClock clock;
  const TestKey key{"P-256"};
  const std::string token = absl::StrCat("token-", kNeedle);
  std::string said;
};

TEST_F(SecrecyTest, NothingSaysATokenOrAPrompt) {
  gate.Close();  // until the prompt has changed
  StartWithAll();
  std::string name;
  const Watched video = GenerateAsAlice(Asked(2), [&](const v1::WatchVideoResponse& event, grpc::ClientContext&) {
    if (!event.has_accepted()) return;
    name = event.accepted().video().name();
    v1::ChangePromptRequest change;
    change.set_name(name);
    change.mutable_change()->set_prompt(absl::StrCat("a cone, ", kNeedle));
    change.mutable_change()->mutable_next_block();
    v1::ChangePromptResponse changed;
    EXPECT_TRUE(Alice(&Stub::ChangePrompt, change, changed).ok());
    gate.Open();
  });
  ASSERT_TRUE(video.status.ok()) << video.status.error_message();

  // Requests that are wrong in every field that holds a secret.
  v1::GenerateVideoRequest wrong = Asked(1);
  wrong.mutable_spec()->set_negative_prompt(absl::StrCat(kNeedle, std::string(10'000, 'x')));
  wrong.mutable_spec()->set_prompt(absl::StrCat(kNeedle, std::string(10'000, 'x')));
  wrong.mutable_spec()->set_first_image(absl::StrCat(kNeedle, "no image"));
  wrong.mutable_spec()->mutable_prompt_changes(0)->set_prompt(absl::StrCat(kNeedle, std::string(10'000, 'x')));
  EXPECT_EQ(ReasonOf(GenerateAsAlice(wrong).status), "INVALID_REQUEST");
  for (int i = 0; i < 8; ++i) {  // one of them is beyond the quota, or all end before
    v1::CreateVideoRequest create;
    *create.mutable_spec() = Asked(10).spec();
    v1::Video created;
    Alice(&Stub::CreateVideo, create, created);
  }

  // Credentials that are wrong in every way.
  const nlohmann::json claims = {{"sub", kNeedle}, {"tenant", kNeedle}, {"exp", 1}};
  const std::string jwt = key.Sign({{"alg", "ES256"}, {"kid", kNeedle}}, claims, "ES256");
  for (const std::string& authorization :
       {absl::StrCat("Bearer other-", kNeedle), absl::StrCat("Basic ", kNeedle), std::string(kNeedle), "Bearer " + jwt,
        "Bearer " + key.Sign({{"alg", "ES256"}, {"kid", "k"}}, claims, "ES256"),
        absl::StrCat("Bearer ", kNeedle, ".b.c"), "Bearer " + SigningInput({{"alg", "none"}}, claims) + "."}) {
    EXPECT_EQ(ReasonOf(List(authorization)), "UNAUTHENTICATED");
    said += HttpGet(server->metrics_port(), "/metrics", absl::StrCat("Authorization: ", authorization, "\r\n"));
  }
  // The same over HTTP, in every place of a request that holds text.
  const std::string alice = absl::StrCat("Authorization: Bearer ", token, "\r\n");
  const auto ask = [&](const std::string& method, const std::string& path, const std::string& body,
                       const std::string& headers) {
    const HttpReply reply = HttpClient(server->http_port()).Ask(method, path, body, headers);
    // A video's own JSON has its prompt: that is what it is asked for.
    if (reply.status >= 400) said += reply.body;
    return reply;
  };
  const nlohmann::json body = {{"prompt", absl::StrCat("a cone, ", kNeedle)}, {"seconds", 1}};
  ask("POST", "/v1/videos", body.dump(), alice);
  ask("POST", "/v1/videos", absl::StrCat("{\"prompt\": ", kNeedle), alice);
  ask("POST", "/v1/quote", body.dump(), alice);
  ask("POST", absl::StrCat("/v1/", name, "/prompt"), body.dump(), alice);
  ask("POST", absl::StrCat("/v1/", name, "/fork"), body.dump(), alice);
  ask("POST", "/v1/videos", body.dump(), absl::StrCat("Authorization: Bearer other-", kNeedle, "\r\n"));
  // An x-request-id is repeated by design, so one that is no id must not be.
  ask("GET", "/v1/videos", "", absl::StrCat(alice, "X-Request-Id: Bearer ", kNeedle, "\r\n"));
  ask(kNeedle, absl::StrCat("/v1/videos?token=", kNeedle), "", alice);

  // A token where its sum should be.
  Write("tokens", absl::StrCat("acme alice ", token, "\n"));
  clock.Advance(absl::Seconds(2));
  EXPECT_TRUE(List(absl::StrCat("Bearer ", token)).ok());

  said += server->MetricsText();
  server.reset();
  // A restart over a store with a file that has changed.
  std::ofstream(absl::StrCat(folder, "/store/", name, "/video.json")) << "{\"prompt\": \"" << kNeedle << "\"";
  StartWithAll();
  v1::ListVideosResponse videos;
  EXPECT_TRUE(Alice(&Stub::ListVideos, v1::ListVideosRequest(), videos).ok());
  said += server->MetricsText();
  server.reset();

  EXPECT_THAT(LogText(), testing::AllOf(HasSubstr(name), HasSubstr("block made"), HasSubstr("prompt changed"),
                                        HasSubstr("line 1: the SHA-256"), HasSubstr("a stored video cannot be read"),
                                        HasSubstr("call finished")));
  for (const std::string& text : {LogText(), said}) {
    EXPECT_THAT(text, Not(HasSubstr(kNeedle)));
    EXPECT_THAT(text, Not(HasSubstr(jwt.substr(0, jwt.find('.')))));
    EXPECT_THAT(text, Not(HasSubstr(Sha256Hex(token))));
  }
}

}  // namespace
}  // namespace longtake::server
