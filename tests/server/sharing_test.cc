// Two servers that share a store and a Redis: any one answers for any video.
#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/store/registry.h"
#include "tests/server/http_client.h"
#include "tests/server/sharing_fixture.h"

namespace longtake::server {
namespace {

namespace fs = std::filesystem;

using SharingTest = SharingFixture;

TEST_F(SharingTest, AnyServerAnswersForAnyVideo) {
  const std::string undisturbed = Undisturbed(5);
  Gate gate;
  gate.Close();
  Node a = Run(HeldAt(gate, 3));
  Node b = Run();
  const std::string name = Create(*a.stub, 5).name();
  v1::Video video;
  grpc::Status status = GetAt(*b.stub, name, &video);
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(video.name(), name);
  v1::ReportPlaybackRequest report;
  report.set_name(name);
  report.set_viewer_id("nobody");
  *report.mutable_position_offset() = ToProto(1.0);
  v1::ReportPlaybackResponse reported;
  grpc::ClientContext reporting;
  EXPECT_EQ(ReasonOf(b.stub->ReportPlayback(&reporting, report, &reported)), "VIEWER_NOT_FOUND");
  v1::ForkVideoRequest fork;
  fork.set_name(name);
  fork.set_from_block(1000);
  fork.set_prompt("a blue box");
  grpc::ClientContext forking;
  EXPECT_EQ(ReasonOf(b.stub->ForkVideo(&forking, fork, &video)), "INVALID_REQUEST");
  // Its viewers at the other server see it while it is made: the gate is opened by what one of them has seen.
  v1::WatchVideoRequest request;
  request.set_name(name);
  request.set_follow(true);
  grpc::ClientContext context;
  const Watched watched = ReadAll(context, *b.stub->WatchVideo(&context, request),
                                  [&](const v1::WatchVideoResponse& event, grpc::ClientContext&) {
                                    if (event.has_chunk() && event.chunk().block() == 1) gate.Open();
                                  });
  EXPECT_TRUE(watched.status.ok()) << watched.status.error_message();
  EXPECT_EQ(watched.bytes, undisturbed);
  EXPECT_EQ(WatchAt(*a.stub, name).bytes, undisturbed);
  EXPECT_TRUE(b.engine->ran().empty()) << "it was made twice";
  // It has ended, and needs its maker no longer.
  a.server.reset();
  EXPECT_EQ(WatchAt(*b.stub, name).bytes, undisturbed);
  EXPECT_EQ(ReasonOf(GetAt(*b.stub, "videos/00000000000000000000000000000000", &video)), "VIDEO_NOT_FOUND");
  EXPECT_EQ(ReasonOf(GetAt(*b.stub, "videos/../lock", &video)), "VIDEO_NOT_FOUND");
}

TEST_F(SharingTest, CommandsReachTheServerThatMakesTheVideo) {
  Gate gate;
  gate.Close();
  Node a = Run(HeldAtEach(gate));
  Node b = Run();
  const std::string name = Create(*a.stub, 5).name();
  v1::ChangePromptRequest change;
  change.set_name(name);
  change.mutable_change()->set_prompt("a blue box");
  *change.mutable_change()->mutable_at_offset() = ToProto(3.0);
  v1::ChangePromptResponse changed;
  grpc::ClientContext changing;
  grpc::Status status = b.stub->ChangePrompt(&changing, change, &changed);
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(changed.receipt().prompt(), 1);
  v1::CancelVideoRequest cancel;
  cancel.set_name(name);
  v1::Video video;
  grpc::ClientContext cancelling;
  status = b.stub->CancelVideo(&cancelling, cancel, &video);
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(video.state(), v1::Video::STATE_CANCELLED);
  gate.Open();
  EXPECT_EQ(WatchAt(*b.stub, name).status.error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_TRUE(DeleteAt(*b.stub, name).ok());
  EXPECT_EQ(ReasonOf(GetAt(*a.stub, name, &video)), "VIDEO_NOT_FOUND");
  EXPECT_EQ(ReasonOf(GetAt(*b.stub, name, &video)), "VIDEO_NOT_FOUND");
  EXPECT_FALSE(fs::exists(folder.path() + "/store/" + name));
}

TEST_F(SharingTest, WhoWatchesAtEitherServerHearsThatAVideoWasDeleted) {
  Gate gate;
  gate.Close();
  Node a = Run(HeldAtEach(gate));
  Node b = Run();
  const std::string name = Create(*a.stub, 5).name();
  Watched near, far;
  std::thread near_viewer([&] { near = WatchAt(*a.stub, name); });
  std::thread far_viewer([&] { far = WatchAt(*b.stub, name); });
  Await(
      [&] {
        v1::Video video;
        return GetAt(*a.stub, name, &video).ok() && video.progress().viewer_count() == 2;
      },
      "both viewers");
  EXPECT_TRUE(DeleteAt(*b.stub, name).ok());
  near_viewer.join();
  far_viewer.join();
  EXPECT_EQ(ReasonOf(near.status), "VIDEO_NOT_FOUND");
  EXPECT_EQ(ReasonOf(far.status), "VIDEO_NOT_FOUND");
  gate.Open();
}

TEST_F(SharingTest, AnyServerAnswersOverHttp) {
  const std::string undisturbed = Undisturbed(5);
  Gate gate;
  gate.Close();
  Node a = Run(HeldAt(gate, 3));
  Node b = Run();
  const std::string name = Create(*a.stub, 5).name();
  const std::string path = "/v1/" + name;
  const auto ask = [&](const std::string& method, const std::string& rest, const std::string& body = "",
                       const std::string& headers = "") {
    return HttpClient(b.server->http_port()).Ask(method, path + rest, body, headers);
  };
  const HttpReply got = ask("GET", "");
  EXPECT_EQ(got.status, 200);
  EXPECT_EQ(got.json()["status"], "in_progress") << got.body;
  EXPECT_EQ(ask("POST", "/prompt", R"({"prompt": 7})").status, 400) << "as the other server says";
  EXPECT_EQ(ask("HEAD", "/stream.mp4").headers["content-type"], "video/mp4");
  // A stream grows while the video is made: the gate is opened by what has come of it.
  HttpClient viewer(b.server->http_port());
  const HttpReply stream = viewer.Ask("GET", path + "/stream.mp4", "", "", [&](const std::string& so_far) {
    if (so_far.size() > undisturbed.size() / 10) gate.Open();
    return true;
  });
  EXPECT_TRUE(stream.whole);
  EXPECT_EQ(stream.headers.at("content-type"), "video/mp4");
  EXPECT_EQ(stream.body, undisturbed);
  EXPECT_TRUE(b.engine->ran().empty());
  const HttpReply block = ask("GET", "/block-00000.m4s");
  EXPECT_EQ(block.status, 200);
  EXPECT_TRUE(absl::StrContains(undisturbed, block.body));
  const HttpReply part = ask("GET", "/block-00000.m4s", "", "Range: bytes=1-10\r\n");
  EXPECT_EQ(part.status, 206);
  EXPECT_EQ(part.body, block.body.substr(1, 10));
}

TEST_F(SharingTest, ABlockInTheMiddleOfAVideoIsPassedOnWithItsParts) {
  Gate gate;
  gate.Close();
  Node a = Run(HeldAt(gate, 4));
  Node b = Run();
  const std::string path = "/v1/" + Create(*a.stub, 5).name();
  const auto at = [&](const Node& node, const std::string& headers = "") {
    return HttpClient(node.server->http_port()).Ask("GET", path + "/block-00001.m4s", "", headers);
  };
  Await([&] { return at(a).status == 200; }, "the second block");
  const HttpReply direct = at(a), passed = at(b);
  EXPECT_EQ(passed.status, 200);
  EXPECT_EQ(passed.body, direct.body);
  EXPECT_EQ(passed.headers.at("etag"), direct.headers.at("etag"));
  EXPECT_EQ(passed.headers.at("cache-control"), direct.headers.at("cache-control"));
  const HttpReply part = at(b, "Range: bytes=1-10\r\n");
  EXPECT_EQ(part.status, 206);
  EXPECT_EQ(part.body, direct.body.substr(1, 10));
  EXPECT_EQ(at(b, absl::StrCat("If-None-Match: ", direct.headers.at("etag"), "\r\n")).status, 304);
  // A viewer who goes is missed by the server that makes the video.
  const auto viewers = [&] { return HttpClient(a.server->http_port()).Ask("GET", path).json().value("viewers", -1); };
  {
    HttpClient viewer(b.server->http_port());
    viewer.Ask("GET", path + "/stream.mp4", "", "", [](const std::string&) { return false; });
    EXPECT_EQ(viewers(), 1);
  }
  Await([&] { return viewers() == 0; }, "the viewer's end");
  gate.Open();
}

// The log of either server says what became of the call, and a search by its id finds both lines.
TEST_F(SharingTest, ACallThatIsPassedOnHasOneIdInBothLogs) {
  Gate gate;
  gate.Close();
  Node a = Run(HeldAtEach(gate));
  Node b = Run();
  const std::string name = Create(*a.stub, 5).name();
  const auto lines = [&](const std::string& id) {
    std::vector<std::string> found;
    for (const absl::string_view line : absl::StrSplit(LogText(), '\n')) {
      if (absl::StrContains(line, "call finished") && absl::StrContains(line, id)) found.emplace_back(line);
    }
    return found;
  };
  v1::ChangePromptRequest request;
  request.set_name(name);
  request.mutable_change()->set_prompt("a green cone");
  request.mutable_change()->mutable_next_block();
  v1::ChangePromptResponse response;
  grpc::ClientContext context;
  context.AddMetadata("x-request-id", "by-grpc");
  EXPECT_TRUE(b.stub->ChangePrompt(&context, request, &response).ok());
  Await([&] { return lines("by-grpc").size() == 2; }, "both lines");
  EXPECT_THAT(lines("by-grpc"), testing::Each(testing::HasSubstr("VideoService/ChangePrompt code=OK")));
  EXPECT_EQ(HttpClient(b.server->http_port())
                .Ask("POST", "/v1/" + name + "/prompt", R"({"prompt": "a red cone"})", "X-Request-Id: by-http\r\n")
                .status,
            200);
  Await([&] { return lines("by-http").size() == 2; }, "both lines");
  EXPECT_THAT(lines("by-http"), testing::Each(testing::HasSubstr("{video}/prompt\" code=\"200\"")));
  gate.Open();
}

TEST_F(SharingTest, VideosOfAllServersAreListed) {
  Gate gate;
  gate.Close();
  Node a = Run(HeldAtEach(gate));
  Node b = Run();
  std::set<std::string> names = {Create(*a.stub, 2).name(), Create(*b.stub, 1).name(), Create(*b.stub, 1).name()};
  const auto list = [](v1::VideoService::Stub& at) {
    std::set<std::string> found;
    v1::ListVideosRequest request;
    request.set_page_size(1);
    do {
      grpc::ClientContext context;
      v1::ListVideosResponse page;
      const grpc::Status status = at.ListVideos(&context, request, &page);
      EXPECT_TRUE(status.ok()) << status.error_message();
      for (const v1::Video& video : page.videos()) EXPECT_TRUE(found.insert(video.name()).second) << "twice";
      request.set_page_token(page.next_page_token());
    } while (!request.page_token().empty());
    return found;
  };
  Await([&] { return list(*a.stub) == names && list(*b.stub) == names; }, "the lists");
  gate.Open();
}

TEST_F(SharingTest, ARequestIdIsOneVideoAtAllServers) {
  Gate gate;
  gate.Close();
  Node a = Run(HeldAtEach(gate));
  Node b = Run();
  const std::string name = Create(*a.stub, 2, "mine").name();
  EXPECT_EQ(Create(*b.stub, 2, "mine").name(), name);
  v1::CreateVideoRequest other;
  *other.mutable_spec() = Request(3).spec();
  other.set_request_id("mine");
  v1::Video video;
  grpc::ClientContext context;
  EXPECT_EQ(ReasonOf(b.stub->CreateVideo(&context, other, &video)), "REQUEST_ID_REUSED");
  const HttpReply posted =
      HttpClient(b.server->http_port())
          .Ask("POST", "/v1/videos", R"({"prompt": "a red ball", "seconds": 3, "request_id": "mine"})");
  EXPECT_EQ(posted.status, 409) << posted.body;
  EXPECT_TRUE(absl::StrContains(posted.body, "REQUEST_ID_REUSED")) << posted.body;
  gate.Open();
  EXPECT_TRUE(WatchAt(*a.stub, name).status.ok());
  EXPECT_EQ(Create(*b.stub, 2, "mine").name(), name) << "it has ended";
  EXPECT_TRUE(b.engine->ran().empty());
}

TEST_F(SharingTest, WhatAnotherServerHasAcceptedIsNotJudgedAgain) {
  Gate gate;
  gate.Close();
  Node a = Run({.delay = WaitAt(gate, 3)});
  ServerOptions options;
  options.policy.rules = folder.Write("rules", R"({"rules": [{"decision": "refuse"}]})");
  Node b = Run({}, options);
  const std::string name = Create(*a.stub, 5, "mine").name();
  EXPECT_EQ(Create(*b.stub, 5, "mine").name(), name) << "while it is made";
  const auto fork = [&](Node& at, const std::string& request_id) {
    v1::ForkVideoRequest request;
    request.set_name(name);
    request.set_from_block(1);
    request.set_prompt("a blue box");
    request.set_request_id(request_id);
    grpc::ClientContext context;
    v1::Video video;
    const grpc::Status status = at.stub->ForkVideo(&context, request, &video);
    return status.ok() ? video.name() : ReasonOf(status);
  };
  gate.Open();
  EXPECT_TRUE(WatchAt(*a.stub, name).status.ok());
  EXPECT_EQ(Create(*b.stub, 5, "mine").name(), name) << "it has ended";
  const std::string branch = fork(a, "branch");
  EXPECT_EQ(fork(b, "branch"), branch);
  EXPECT_EQ(fork(b, "new"), "POLICY_REFUSED") << "the control";
  EXPECT_TRUE(WatchUntilItEnds(*a.stub, branch).status.ok());
  EXPECT_EQ(fork(b, "branch"), branch);
  EXPECT_TRUE(b.engine->ran().empty());
}

TEST_F(SharingTest, WhatAnotherServerIsAboutToAcceptIsNotMadeTwice) {
  Node a = Run();
  const auto create = [&] {
    v1::CreateVideoRequest request;
    *request.mutable_spec() = Request(1).spec();
    request.set_request_id("mine");
    grpc::ClientContext context;
    v1::Video video;
    return a.stub->CreateVideo(&context, request, &video);
  };
  {
    // A server that has claimed the id, and stored nothing yet.
    const absl::StatusOr<std::unique_ptr<Registry>> other = OpenRedisRegistry(
        {.url = redis.url(), .password_file = "", .address = "", .http_address = "", .lease = absl::Minutes(10)},
        &logger);
    ASSERT_TRUE(other.ok()) << other.status();
    const std::string theirs = "videos/0123456789abcdef0123456789abcdef";
    ASSERT_TRUE((*other)->Take(theirs, "").ok());
    ASSERT_EQ(*(*other)->ClaimRequest("", "mine", theirs), theirs);
    const grpc::Status refused = create();
    EXPECT_EQ(refused.error_code(), grpc::StatusCode::UNAVAILABLE);
    EXPECT_EQ(ReasonOf(refused), "OTHER_SERVER");
    EXPECT_EQ(*(*other)->FindRequest("", "mine"), theirs);
  }
  // It is gone without having accepted anything.
  const grpc::Status accepted = create();
  EXPECT_TRUE(accepted.ok()) << accepted.error_message();
}

TEST_F(SharingTest, WhatIsMissingToShareIsNamed) {
  ServerOptions options;
  options.listen = "127.0.0.1:0";
  options.registry = redis.url();
  EXPECT_THAT(std::string(Server::Start(options, &logger).status().message()), testing::HasSubstr("registry: "));
  options.store = folder.path() + "/store";
  options.registry = "redis://127.0.0.1:1";
  EXPECT_THAT(std::string(Server::Start(options, &logger).status().message()),
              testing::HasSubstr("Redis at 127.0.0.1:1"));
  options.registry = redis.url();
  options.listen = "0.0.0.0:0";
  EXPECT_THAT(std::string(Server::Start(options, &logger).status().message()), testing::HasSubstr("advertise: "));
}

}  // namespace
}  // namespace longtake::server
