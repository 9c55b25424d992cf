// The log's lines about calls and videos, and the id by which they are found.
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/telemetry/log_format.h"
#include "tests/server/access_fixture.h"
#include "tests/server/http_client.h"

namespace longtake::server {
namespace {

using testing::AllOf;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

class CallLogTest : public AccessFixture {
 protected:
  void SetUp() override {
    AccessFixture::SetUp();
    logger.set_level(spdlog::level::debug);
  }
  void StartWithTokens(CallLogLevel level = CallLogLevel::kAuto) {
    ServerOptions options = WithTokens({.http_listen = "127.0.0.1:0"});
    options.log_calls = level;
    StartAndServe({}, options);
  }
  // The log's lines that have this in them.
  std::vector<std::string> Lines(const std::string& text) const {
    std::vector<std::string> found;
    for (const std::string& line : std::vector<std::string>(absl::StrSplit(LogText(), '\n'))) {
      if (absl::StrContains(line, text)) found.push_back(line);
    }
    return found;
  }
  // The line of the finished call with this id. It comes when gRPC is done with the call, after the client's answer.
  std::string Finished(const std::string& id) const {
    std::vector<std::string> found;
    Await(
        [&] {
          for (const std::string& line : Lines("request_id=" + id)) {
            if (absl::StrContains(line, "call finished") && absl::EndsWith(line, "request_id=" + id)) {
              found.push_back(line);
            }
          }
          return !found.empty();
        },
        id.c_str());
    EXPECT_THAT(found, SizeIs(1));
    return found.empty() ? "" : found.front();
  }
  // Calls as alice with an x-request-id; the one that was answered.
  template <typename Method, typename Request, typename Response>
  std::string Call(Method method, const std::string& id, const Request& request, Response& response,
                   const std::string& caller = "alice") {
    grpc::ClientContext context;
    Say(context, caller);
    context.AddMetadata("x-request-id", id);
    (stub.get()->*method)(&context, request, &response);
    return Answered(context);
  }
  static std::string Answered(const grpc::ClientContext& context) {
    const auto [first, last] = context.GetServerTrailingMetadata().equal_range("x-request-id");
    EXPECT_EQ(std::distance(first, last), 1);
    return first == last ? "" : std::string(first->second.data(), first->second.size());
  }
  std::string GenerateAs(const std::string& id, double seconds) {
    grpc::ClientContext context;
    Say(context, "alice");
    context.AddMetadata("x-request-id", id);
    const Watched video = ReadAll(context, *stub->GenerateVideo(&context, Request(seconds)), nullptr);
    EXPECT_TRUE(video.status.ok());
    EXPECT_EQ(Answered(context), id);
    return video.video().name();
  }
};

TEST_F(CallLogTest, AVideosLinesHaveTheIdOfItsCall) {
  StartWithTokens();
  const std::string name = GenerateAs("first-1", 1);
  EXPECT_THAT(Finished("first-1"),
              AllOf(HasSubstr("method=longtake.v1.VideoService/GenerateVideo"), HasSubstr("code=OK"),
                    HasSubstr("tenant=acme"), HasSubstr("name=" + name), HasSubstr("seconds=")));
  Await([&] { return !Lines("video ended").empty(); }, "the end");
  EXPECT_THAT(Lines(name), AllOf(SizeIs(testing::Ge(4)), Each(HasSubstr("request_id=first-1"))));
  EXPECT_THAT(Lines("video accepted"), SizeIs(1));
  EXPECT_THAT(Lines("block made"), SizeIs(testing::Ge(1)));
}

TEST_F(CallLogTest, EachCallIsOneLine) {
  StartWithTokens();
  const std::string name = GenerateAs("first", 1);
  using Stub = v1::VideoService::Stub;
  v1::GetVideoRequest get;
  get.set_name(name);
  v1::Video video;
  EXPECT_EQ(Call(&Stub::GetVideo, "get-1", get, video), "get-1");
  EXPECT_THAT(Finished("get-1"), AllOf(HasSubstr("VideoService/GetVideo"), HasSubstr("name=" + name)));
  // Of another tenant it is what does not exist.
  EXPECT_EQ(Call(&Stub::GetVideo, "get-2", get, video, "carol"), "get-2");
  EXPECT_THAT(Finished("get-2"), AllOf(HasSubstr("code=NOT_FOUND"), HasSubstr("tenant=umbrella")));
  // What is no name is not repeated.
  get.set_name("videos/ and what else a client may say");
  EXPECT_EQ(Call(&Stub::GetVideo, "get-3", get, video), "get-3");
  EXPECT_THAT(Finished("get-3"), AllOf(HasSubstr("code=NOT_FOUND"), HasSubstr("name=\"\"")));
  // Refused at the door.
  EXPECT_EQ(Call(&Stub::GetVideo, "get-4", get, video, ""), "get-4");
  EXPECT_THAT(Finished("get-4"), AllOf(HasSubstr("code=UNAUTHENTICATED"), HasSubstr("tenant=\"\"")));
  v1::CreateVideoRequest wrong;
  EXPECT_EQ(Call(&Stub::CreateVideo, "create", wrong, video), "create");
  EXPECT_THAT(Finished("create"), AllOf(HasSubstr("CreateVideo"), HasSubstr("code=INVALID_ARGUMENT")));
  // An id that could be anything is another one.
  EXPECT_THAT(Call(&Stub::GetVideo, "a b", get, video), testing::MatchesRegex("[0-9a-f]{16}"));
  // A viewer that goes.
  v1::WatchVideoRequest watch;
  watch.set_name(name);
  grpc::ClientContext context;
  Say(context, "alice");
  context.AddMetadata("x-request-id", "watch");
  const auto reader = stub->WatchVideo(&context, watch);
  v1::WatchVideoResponse event;
  ASSERT_TRUE(reader->Read(&event));
  context.TryCancel();
  reader->Finish();
  EXPECT_THAT(Finished("watch"), AllOf(HasSubstr("WatchVideo"), HasSubstr("name=" + name)));
  // A probe is no call of ours.
  EXPECT_EQ(Health(), 1);
  server.reset();
  EXPECT_THAT(Lines("health.v1"), IsEmpty());
}

TEST_F(CallLogTest, OverHttpToo) {
  StartWithTokens();
  const std::string token = absl::StrCat("Authorization: Bearer ", TokenOf("alice"), "\r\n");
  const auto ask = [&](const std::string& method, const std::string& path, const std::string& id,
                       const std::string& body = "") {
    const HttpReply reply =
        HttpClient(server->http_port()).Ask(method, path, body, absl::StrCat(token, "X-Request-Id: ", id, "\r\n"));
    EXPECT_EQ(reply.headers.count("x-request-id"), 1u);
    EXPECT_EQ(reply.headers.at("x-request-id"), id);
    return reply;
  };
  const HttpReply created = ask("POST", "/v1/videos", "http-1", R"({"prompt": "a red ball", "seconds": 1})");
  ASSERT_EQ(created.status, 200) << created.body;
  const std::string name = absl::StrCat("videos/", created.json()["id"].get<std::string>());
  EXPECT_THAT(Finished("http-1"), AllOf(HasSubstr("method=\"POST /v1/videos\" code=\"200\""), HasSubstr("tenant=acme"),
                                        HasSubstr("name=" + name)));
  EXPECT_THAT(Lines("video accepted"), ElementsAre(HasSubstr("request_id=http-1")));
  ask("GET", "/v1/" + name + "/stream.mp4", "http-2");
  EXPECT_THAT(Finished("http-2"), AllOf(HasSubstr("[info]"), HasSubstr("method=\"GET /v1/videos/{video}/stream.mp4\""),
                                        HasSubstr("name=" + name)));
  ask("GET", "/v1/" + name + "/block-00000.m4s", "http-3");
  EXPECT_THAT(Finished("http-3"), HasSubstr("method=\"GET /v1/videos/{video}/block-{n}.m4s\""));
  // What a client makes up is not repeated.
  EXPECT_EQ(ask("GET", "/v1/made-up/made-up", "http-4").status, 404);
  EXPECT_EQ(ask("GET", "/v1/" + name + "/made-up", "http-5").status, 404);
  EXPECT_THAT(Finished("http-4"), AllOf(HasSubstr("GET /v1/{other}"), HasSubstr("code=\"404\"")));
  EXPECT_THAT(Finished("http-5"), HasSubstr("GET /v1/videos/{video}/{other}"));
  EXPECT_THAT(LogText(), Not(HasSubstr("made-up")));
  EXPECT_EQ(HttpClient(server->http_port()).Ask("GET", "/v1/models", "", "X-Request-Id: http-6\r\n").status, 401);
  EXPECT_THAT(Finished("http-6"), HasSubstr("code=\"401\""));
}

TEST_F(CallLogTest, LevelsAreAsTheOptionSays) {
  logger.set_level(spdlog::level::info);
  logger.set_formatter(MakeLogFormatter(LogFormat::kText));
  const auto levels = [&](CallLogLevel level, const std::string& prefix) {
    StartWithTokens(level);
    GenerateAs(prefix + "-make", 1);
    v1::ListVideosResponse videos;
    Call(&v1::VideoService::Stub::ListVideos, prefix + "-list", v1::ListVideosRequest(), videos);
    server.reset();  // all calls have finished
    return std::pair(Lines("call finished").size(), Lines(prefix + "-make").size() > 1);
  };
  EXPECT_EQ(levels(CallLogLevel::kAuto, "a"), std::pair(size_t{1}, true)) << "a list is routine";
  EXPECT_EQ(levels(CallLogLevel::kInfo, "b"), std::pair(size_t{3}, true));
  EXPECT_EQ(levels(CallLogLevel::kDebug, "c"), std::pair(size_t{3}, true));
  EXPECT_EQ(levels(CallLogLevel::kOff, "d"), std::pair(size_t{3}, true));
}

}  // namespace
}  // namespace longtake::server
