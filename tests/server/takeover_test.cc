// Servers that share a store and a Redis, of which one has ended, is taken for dead, or alone has a video.
#include <atomic>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/sharing_fixture.h"

namespace longtake::server {
namespace {

namespace fs = std::filesystem;

using TakeoverTest = SharingFixture;

// As one that was stopped, and goes on when others have taken its videos.
TEST_F(TakeoverTest, AServerThatWasTakenForDeadWritesAndTellsNothingMore) {
  const std::string undisturbed = Undisturbed(5);
  Gate gate;
  gate.Close();
  Node a = Run(HeldAt(gate, 4));
  const std::string name = Create(*a.stub, 5).name();
  Await([&] { return HasStored(name, 2); }, "two blocks");
  redis.EndLeases();
  Node b = Run();
  const Watched whole = WatchUntilItEnds(*b.stub, name);
  EXPECT_TRUE(whole.status.ok()) << whole.status.error_message();
  EXPECT_EQ(whole.bytes, undisturbed);
  EXPECT_FALSE(b.engine->ran().empty());
  std::map<std::string, fs::file_time_type> written;
  for (const auto& file : fs::directory_iterator(folder.path() + "/store/" + name)) {
    // The new owner may still be removing its checkpoint, for which it uses the writer's folder.
    if (file.is_regular_file() && file.path().filename() != "checkpoint") {
      written[file.path()] = fs::last_write_time(file.path());
    }
  }
  ASSERT_GE(written.size(), 10u * 2) << "ten blocks";
  gate.Open();
  Await([&] { return absl::StrContains(LogText(), "another server makes"); }, "the end of it at its former owner");
  EXPECT_EQ(WatchUntilItEnds(*a.stub, name).bytes, undisturbed);
  for (const auto& [path, time] : written) EXPECT_EQ(fs::last_write_time(path), time) << path << " was written again";
}

// As where file descriptors have run out for a moment.
TEST_F(TakeoverTest, AVideoThatCannotBeReadNowIsTakenOverLater) {
  const std::string undisturbed = Undisturbed(5);
  Gate gate;
  gate.Close();
  Node a = Run(HeldAt(gate, 4));
  const std::string name = Create(*a.stub, 5).name();
  const std::string path = absl::StrCat(folder.path(), "/store/", name, "/video.json");
  Await([&] { return HasStored(name, 2); }, "two blocks");
  fs::rename(path, path + ".kept");
  fs::create_directory(path);  // reading it fails, though it is there
  redis.EndLeases();
  Node b = Run();
  // Once when the server looks at the store, and at least twice when it tries to take the video over.
  const auto tries = [&] { return std::vector<std::string>(absl::StrSplit(LogText(), "video cannot be read")).size(); };
  Await([&] { return tries() > 3; }, "several tries");
  fs::remove(path);
  fs::rename(path + ".kept", path);
  const Watched whole = WatchUntilItEnds(*b.stub, name);
  EXPECT_TRUE(whole.status.ok()) << whole.status.error_message();
  EXPECT_EQ(whole.bytes, undisturbed);
  gate.Open();
}

TEST_F(TakeoverTest, AServerThatShutsDownHandsItsVideosOver) {
  const std::string undisturbed = Undisturbed(5);
  Gate gate;
  gate.Close();
  Node a = Run(HeldAt(gate, 3));
  Node b = Run();
  const std::string name = Create(*a.stub, 5).name();
  std::atomic<bool> stopped = false;
  v1::WatchVideoRequest request;
  request.set_name(name);
  request.set_follow(true);
  grpc::ClientContext context;
  Watched seen = ReadAll(context, *a.stub->WatchVideo(&context, request),
                         [&](const v1::WatchVideoResponse& event, grpc::ClientContext&) {
                           if (!event.has_chunk() || event.chunk().block() != 1 || stopped.exchange(true)) return;
                           a.server->Stop(/*grace=*/false);
                           Await([&] { return absl::StrContains(LogText(), "handed over"); }, "the shutdown");
                           gate.Open();
                         });
  EXPECT_EQ(seen.status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(ReasonOf(seen.status), "SHUTTING_DOWN");
  Watched rest;
  do {
    rest = WatchAt(*b.stub, name, seen.events.back().resume_token());
  } while (rest.status.error_code() == grpc::StatusCode::UNAVAILABLE && rest.events.empty());
  EXPECT_TRUE(rest.status.ok()) << rest.status.error_message();
  EXPECT_EQ(seen.bytes + rest.bytes, undisturbed);
  EXPECT_TRUE(a.server->AwaitStopped(absl::Minutes(1)));
}

TEST_F(TakeoverTest, ATenantHasItsVideosAtAllServersTogether) {
  ServerOptions options;
  options.quotas = folder.Write("quotas", R"({"*": {"concurrent_videos": 1}})");
  Gate at_a, at_b;
  at_a.Close();
  at_b.Close();
  Node a = Run({.delay = WaitAt(at_a, 3)}, options);
  const std::string name = Create(*a.stub, 5).name();
  const auto create = [](Node& at) {
    v1::CreateVideoRequest request;
    *request.mutable_spec() = Request(1).spec();
    grpc::ClientContext context;
    v1::Video video;
    const grpc::Status status = at.stub->CreateVideo(&context, request, &video);
    return status.ok() ? "" : ReasonOf(status);
  };
  EXPECT_EQ(create(a), "QUOTA_EXCEEDED");
  // The first one is taken for dead. The other goes on with its video, which counts as before, and once.
  redis.EndLeases();
  Node b = Run({.delay = WaitAt(at_b, 1)}, options);
  Await([&] { return absl::StrContains(LogText(), "video is taken over"); }, "the video at the other server");
  EXPECT_EQ(create(b), "QUOTA_EXCEEDED");
  EXPECT_EQ(create(a), "QUOTA_EXCEEDED");
  EXPECT_EQ(redis.Ask({"SCARD", "longtake:making:"}).number, 1);
  at_b.Open();
  EXPECT_TRUE(WatchUntilItEnds(*b.stub, name).status.ok());
  Await([&] { return create(b).empty(); }, "room for another video");
  at_a.Open();
}

TEST_F(TakeoverTest, WithoutAnotherServerItGoesOnUntilTheEnd) {
  Node a = Run();
  const std::string name = Create(*a.stub, 2).name();
  a.server->Stop(/*grace=*/false);
  EXPECT_TRUE(a.server->AwaitStopped(absl::Minutes(2)));
  EXPECT_THAT(LogText(), testing::Not(testing::HasSubstr("handed over")));
  a.server.reset();
  Node b = Run();
  EXPECT_TRUE(WatchUntilItEnds(*b.stub, name).status.ok());
}

class UnstoredTest : public SharingFixture {
 protected:
  // A makes a video, and its store is away from the third block on. What is asked of B is passed on.
  void StartTwo() {
    gate.Close();
    a = Run(HeldAt(gate, 3));
    b = Run();
    name = Create(*a.stub, 5).name();
    Await([&] { return HasStored(name, 2); }, "two blocks");
    fs::rename(here, away);
    gate.Open();
  }
  void EndAtA() {
    const Watched whole = WatchUntilItEnds(*a.stub, name);
    EXPECT_TRUE(whole.status.ok()) << whole.status.error_message();
    EXPECT_EQ(whole.bytes, undisturbed);
  }
  void ExpectWholeAtB() {
    const Watched passed_on = WatchAt(*b.stub, name);
    EXPECT_TRUE(passed_on.status.ok()) << passed_on.status.error_message();
    EXPECT_EQ(passed_on.bytes, undisturbed);
    EXPECT_TRUE(b.engine->ran().empty());
  }

  const std::string here = folder.path() + "/store", away = folder.path() + "/away";
  const std::string undisturbed = Undisturbed(5);
  Gate gate;
  Node a, b;
  std::string name;
};

TEST_F(UnstoredTest, WhatTheStoreLacksTheServerHasThatMadeIt) {
  StartTwo();
  EndAtA();
  ExpectWholeAtB();
  fs::rename(away, here);
  ExpectWholeAtB();
  // Nobody has all of it any more, and its end was not stored: it goes on behind its two stored blocks.
  a.server.reset();
  const Watched again = WatchUntilItEnds(*b.stub, name);
  EXPECT_TRUE(again.status.ok()) << again.status.error_message();
  EXPECT_EQ(again.bytes, undisturbed);
  EXPECT_FALSE(b.engine->ran().empty());
}

TEST_F(UnstoredTest, TheStoredEndOfAPartIsNotTheVideosEnd) {
  StartTwo();
  v1::WatchVideoRequest request;
  request.set_name(name);
  request.set_follow(true);
  grpc::ClientContext context;
  bool back = false;
  const Watched whole = ReadAll(context, *a.stub->WatchVideo(&context, request),
                                [&](const v1::WatchVideoResponse& event, grpc::ClientContext&) {
                                  if (!event.has_chunk() || event.chunk().block() < 3 || back) return;
                                  back = true;
                                  fs::rename(away, here);
                                });
  EXPECT_EQ(whole.bytes, undisturbed);
  Await([&] { return fs::exists(absl::StrCat(here, "/", name, "/end.json")); }, "its end in the store");
  ExpectWholeAtB();
  v1::Video told;
  ASSERT_TRUE(GetAt(*b.stub, name, &told).ok());
  EXPECT_EQ(told.state(), v1::Video::STATE_MADE);
  a.server.reset();
  EXPECT_EQ(ReasonOf(WatchUntilItEnds(*b.stub, name).status), "STORE_FAILED");
}

TEST_F(UnstoredTest, WhatIsDeletedIsNobodysAnyMore) {
  StartTwo();
  EndAtA();
  fs::rename(away, here);
  EXPECT_EQ(redis.Ask({"SCARD", "longtake:unfinished"}).number, 1);
  ASSERT_TRUE(DeleteAt(*b.stub, name).ok());
  v1::Video video;
  EXPECT_EQ(ReasonOf(GetAt(*b.stub, name, &video)), "VIDEO_NOT_FOUND");
  EXPECT_EQ(redis.Ask({"SCARD", "longtake:unfinished"}).number, 0);
  EXPECT_EQ(redis.Ask({"EXISTS", "longtake:video:" + name}).number, 0);
}

// A Redis that has forgotten everything is told again.
TEST_F(UnstoredTest, ItsServerIsFoundAgainAfterALapse) {
  lease = absl::Seconds(5);
  StartTwo();
  EndAtA();
  redis.Ask({"FLUSHALL"});
  v1::Video video;
  Await([&] { return GetAt(*b.stub, name, &video).ok(); }, "the server that has it");
  Await([&] { return redis.Ask({"SCARD", "longtake:making:"}).number == 0; }, "it to count no longer as being made");
  fs::rename(away, here);
}

}  // namespace
}  // namespace longtake::server
