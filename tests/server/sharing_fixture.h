// Servers that share a store and a Redis.
#ifndef LONGTAKE_TESTS_SERVER_SHARING_FIXTURE_H_
#define LONGTAKE_TESTS_SERVER_SHARING_FIXTURE_H_

#include <filesystem>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/engine/temp_folder.h"
#include "tests/server/gate.h"
#include "tests/server/redis_server.h"
#include "tests/server/server_fixture.h"

namespace longtake::server {

class SharingFixture : public ServerFixture {
 protected:
  struct Node {
    std::unique_ptr<Server> server;
    std::unique_ptr<v1::VideoService::Stub> stub;
    FakeEngine* engine = nullptr;
  };
  // Engines that stand at a commit, the n-th or each, while the gate is closed. It outlives them.
  static FakeEngineOptions HeldAt(Gate& gate, int commit) { return {.delay = WaitAt(gate, commit)}; }
  static FakeEngineOptions HeldAtEach(Gate& gate) {
    return {.delay = [&gate](const Pass& pass) {
      if (pass.kind == PassKind::kCommit) gate.Pass();
      return absl::ZeroDuration();
    }};
  }
  // One of them; the fixture's methods are about the one that was started last.
  Node Run(FakeEngineOptions engine_options = {}, ServerOptions options = {}) {
    options.store = folder.path() + "/store";
    options.http_listen = "127.0.0.1:0";
    options.registry = redis.url();
    options.lease = lease;
    StartAndServe(std::move(engine_options), options);
    return {std::move(server), std::move(stub), engine};
  }
  // Calls are of this one from now on.
  void Ask(Node& node) {
    std::swap(server, node.server);
    std::swap(stub, node.stub);
    engine = node.engine;
  }
  // Passes wait at the gate before the n-th commit.
  static Delay WaitAt(Gate& gate, int n) {
    return [&gate, n, commits = 0](const Pass& pass) mutable {
      if (pass.kind == PassKind::kCommit && ++commits == n) gate.Pass();
      return absl::ZeroDuration();
    };
  }
  static v1::GenerateVideoRequest Kept(double seconds) {
    v1::GenerateVideoRequest request = Request(seconds);
    request.mutable_delivery_options()->set_disconnect_policy(v1::DISCONNECT_POLICY_CONTINUE);
    return request;
  }
  v1::Video Create(v1::VideoService::Stub& at, double seconds, const std::string& request_id = "") {
    v1::CreateVideoRequest request;
    *request.mutable_spec() = Request(seconds).spec();
    request.set_request_id(request_id);
    grpc::ClientContext context;
    v1::Video video;
    const grpc::Status status = at.CreateVideo(&context, request, &video);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return video;
  }
  // Whether so many blocks of the video, from its beginning, and perhaps more are in the store.
  bool HasStored(const std::string& name, int blocks) const {
    return std::filesystem::exists(absl::StrCat(folder.path(), "/store/", name, "/block-0000", blocks - 1, ".json"));
  }
  static Watched WatchAt(v1::VideoService::Stub& at, const std::string& name, const std::string& resume_token = "") {
    v1::WatchVideoRequest request;
    request.set_name(name);
    request.set_follow(true);
    if (!resume_token.empty()) request.set_resume_token(resume_token);
    grpc::ClientContext context;
    return ReadAll(context, *at.WatchVideo(&context, request), nullptr);
  }
  static grpc::Status GetAt(v1::VideoService::Stub& at, const std::string& name, v1::Video* video) {
    v1::GetVideoRequest request;
    request.set_name(name);
    grpc::ClientContext context;
    return at.GetVideo(&context, request, video);
  }
  // As a client does that is told to ask again.
  Watched WatchUntilItEnds(v1::VideoService::Stub& at, const std::string& name) {
    Watched all;
    while (true) {
      const std::string token = all.events.empty() ? "" : all.events.back().resume_token();
      Watched more = WatchAt(at, name, token);
      all.bytes += more.bytes;
      for (v1::WatchVideoResponse& event : more.events) all.events.push_back(std::move(event));
      all.status = more.status;
      if (more.status.error_code() != grpc::StatusCode::UNAVAILABLE) return all;
      absl::SleepFor(absl::Milliseconds(10));
    }
  }
  // The bytes of a video of so many seconds that nothing disturbs.
  std::string Undisturbed(double seconds) {
    StartAndServe();
    const Watched video = Generate(Kept(seconds));
    EXPECT_TRUE(video.status.ok()) << video.status.error_message();
    server.reset();
    return video.bytes;
  }

  absl::Duration lease = absl::Minutes(10);  // ends when a test says so
  const TempFolder folder;
  RedisServer redis;
};

}  // namespace longtake::server

#endif  // LONGTAKE_TESTS_SERVER_SHARING_FIXTURE_H_
