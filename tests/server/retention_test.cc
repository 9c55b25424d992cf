// How much a store keeps, with a clock that the test moves.
#include <filesystem>
#include <functional>
#include <future>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/store/registry.h"
#include "server/store/store.h"
#include "server/video/studio.h"
#include "spdlog/logger.h"
#include "spdlog/sinks/null_sink.h"
#include "tests/engine/temp_folder.h"
#include "tests/server/checked_viewer.h"
#include "tests/server/fake_clock.h"
#include "tests/server/fake_engine.h"
#include "tests/server/redis_server.h"

namespace longtake::server {
namespace {

namespace fs = std::filesystem;
using Names = std::set<std::string>;

class RetentionTest : public testing::Test {
 protected:
  struct Node {
    std::unique_ptr<Store> store;
    std::unique_ptr<Registry> registry;  // null: it is alone
    std::unique_ptr<Metrics> metrics;
    std::unique_ptr<Studio> studio;  // first to go
  };
  Node Start(bool alone, StudioOptions options = {}) {
    Node node;
    node.store = *OpenDirectoryStore(folder.path() + "/store", alone ? Sharing::kAlone : Sharing::kShared);
    if (!alone) {
      node.registry = *OpenRedisRegistry({.url = redis.url(),
                                          .password_file = "",
                                          .address = "127.0.0.1:1",
                                          .http_address = "",
                                          .lease = absl::Minutes(10)},
                                         &logger);
    }
    node.metrics = std::make_unique<Metrics>();
    FakeEngineOptions engine{};
    engine.model = FakeModel();
    options.max_wait = absl::InfiniteDuration();
    node.studio = std::make_unique<Studio>(options, std::make_unique<FakeEngine>(engine), PlainSerializer, &clock,
                                           node.metrics.get(), &logger, /*with_thread=*/false,
                                           Storage{node.store.get(), node.registry.get()});
    return node;
  }
  // Makes a video to its end; its name.
  std::string Make(Node& node) {
    std::promise<absl::StatusOr<std::shared_ptr<Video>>> answer;
    node.studio->Create({.spec = {.prompt = "a red ball", .seed = 1, .duration = absl::Seconds(1)},
                         .options = {.delivery = scheduler::Delivery::kOffline}},
                        [&](const absl::StatusOr<std::shared_ptr<Video>>& video) { answer.set_value(video); });
    const absl::StatusOr<std::shared_ptr<Video>> video = answer.get_future().get();
    EXPECT_TRUE(video.ok()) << video.status();
    if (!video.ok()) return "";
    Await([&] { return (*video)->log().closed() && (*video)->log().stored(); }, "the video's end");
    node.store->AwaitIdle();
    size = (*video)->info().size_bytes;
    return (*video)->name();
  }
  // It looks for what has expired.
  void Look(Node& node) {
    clock.Advance(absl::Seconds(10));
    node.studio->Tick();
    node.store->AwaitIdle();
  }
  Names Stored() const {
    Names names;
    for (const auto& entry : fs::directory_iterator(folder.path() + "/store/videos")) {
      names.insert("videos/" + entry.path().filename().string());
    }
    return names;
  }
  static bool Knows(Node& node, const std::string& name) { return node.studio->Find({}, name).ok(); }
  static void Await(const std::function<bool()>& condition, const char* what) {
    for (int i = 0; i < 120'000; ++i) {
      if (condition()) return;
      absl::SleepFor(absl::Milliseconds(1));
    }
    FAIL() << "waited in vain for " << what;
  }
  // Of a store that has room for so many videos of this test's and a half.
  StudioOptions RoomFor(int videos) {
    if (size == 0) {
      Node probe = Start(/*alone=*/true);
      Make(probe);
      probe.studio.reset();
      fs::remove_all(folder.path() + "/store");
    }
    return {.store_bytes = videos * size + size / 2};
  }

  const TempFolder folder;
  RedisServer redis;
  FakeClock clock;
  spdlog::logger logger{"test", std::make_shared<spdlog::sinks::null_sink_mt>()};
  int64_t size = 0;  // of a video's chunks; all are the same
};

TEST_F(RetentionTest, TheOldestGoFirst) {
  Node node = Start(/*alone=*/true, RoomFor(2));
  const std::string first = Make(node), second = Make(node);
  Look(node);
  EXPECT_EQ(Stored(), (Names{first, second}));
  const std::string third = Make(node);
  Look(node);
  EXPECT_EQ(Stored(), (Names{second, third}));
  EXPECT_FALSE(Knows(node, first));
  EXPECT_TRUE(Knows(node, second));
}

TEST_F(RetentionTest, SeveralServersKeepTogetherWhatOneWouldKeep) {
  const StudioOptions options = RoomFor(2);
  Node a = Start(/*alone=*/false, options), b = Start(/*alone=*/false, options);
  Look(a);  // it is the one that removes
  const std::string first = Make(b), second = Make(a), third = Make(b);
  Look(b);
  EXPECT_EQ(Stored(), (Names{first, second, third}));
  Look(a);
  EXPECT_EQ(Stored(), (Names{second, third}));
  for (Node* node : {&a, &b}) {
    EXPECT_FALSE(Knows(*node, first));
    EXPECT_TRUE(Knows(*node, second));
    EXPECT_TRUE(Knows(*node, third));
  }
  // Another one does so when that one is gone, and goes by the time at which videos have ended.
  a.studio.reset();
  a.registry.reset();
  const std::string fourth = Make(b);
  Look(b);
  EXPECT_EQ(Stored(), (Names{third, fourth}));
}

TEST_F(RetentionTest, WhatAnotherServerHasRemovedCountsNoLonger) {
  const StudioOptions options = RoomFor(2);
  Node a = Start(/*alone=*/false, options), b = Start(/*alone=*/false, options);
  const std::string first = Make(b), second = Make(b), third = Make(b);
  a.studio->Delete({}, third, [](const absl::Status& status) { EXPECT_TRUE(status.ok()) << status; });
  a.store->AwaitIdle();
  Look(b);
  EXPECT_EQ(Stored(), (Names{first, second}));
  const std::vector<std::shared_ptr<Video>> known = b.studio->videos();
  EXPECT_EQ(known.size(), 2u);
}

TEST_F(RetentionTest, ManyVideosOfOthersAreLearntInSomeLooks) {
  const StudioOptions options = RoomFor(1000);
  Node a = Start(/*alone=*/false, options), b = Start(/*alone=*/false, options);
  Look(a);
  for (int i = 0; i < 70; ++i) Make(b);
  Look(a);
  EXPECT_EQ(a.studio->videos().size(), 64u);
  Look(a);
  EXPECT_EQ(a.studio->videos().size(), 70u);
}

}  // namespace
}  // namespace longtake::server
