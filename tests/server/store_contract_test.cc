// What every store promises: one in a directory, one in S3 (moto's, and one in memory whose requests take no time).
#include <algorithm>
#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/store/s3/s3_store.h"
#include "server/store/store.h"
#include "spdlog/logger.h"
#include "tests/engine/temp_folder.h"
#include "tests/server/fake_s3.h"
#include "tests/server/moto_server.h"
#include "tests/server/store_calls.h"

namespace longtake::server {
namespace {

using testing::ElementsAre;

class StoreContract : public testing::TestWithParam<const char*> {
 protected:
  // One for all tests: it takes seconds to start.
  static void TearDownTestSuite() {
    moto_.reset();
    fake_.reset();
  }
  void SetUp() override {
    if (kind() != "moto") return;
    if (!MotoServer::IsInstalled()) GTEST_SKIP() << MotoServer::kPython << " has no moto; scripts/test.sh installs it";
    if (moto_ == nullptr) moto_ = std::make_unique<MotoServer>();
  }

  static std::string kind() { return GetParam(); }
  // On the same files, with those of this test that live.
  std::unique_ptr<Store> Open(Sharing sharing = Sharing::kAlone) {
    absl::StatusOr<std::unique_ptr<Store>> store;
    if (kind() == "directory") {
      store = OpenDirectoryStore(folder_.path() + "/store", sharing);
    } else {
      if (fake_ == nullptr) fake_ = std::make_unique<FakeS3>();
      const std::string test = testing::UnitTest::GetInstance()->current_test_info()->name();
      store = OpenS3Store(absl::StrCat("s3://videos/", test.substr(0, test.find('/'))), sharing,
                          {.endpoint = kind() == "moto" ? moto_->endpoint() : fake_->endpoint(),
                           .credentials = {"key", "secret"},
                           .page_keys = 3},
                          &logger_);
    }
    EXPECT_TRUE(store.ok()) << store.status();
    return *std::move(store);
  }
  // How often a test of threads is repeated: a request to moto takes milliseconds.
  static uint64_t rounds() { return kind() == "moto" ? 5 : 50; }

 private:
  static inline std::unique_ptr<MotoServer> moto_;
  static inline std::unique_ptr<FakeS3> fake_;
  const TempFolder folder_;
  spdlog::logger logger_{"test"};
};

TEST_P(StoreContract, KeepsFilesUntilTheyAreRemoved) {
  {
    const auto store = Open();
    ASSERT_TRUE(Put(*store, {{"videos/a/one", "1"}, {"videos/a/two", std::string(1 << 20, '2')}}).ok());
    ASSERT_TRUE(Put(*store, {{"videos/a/one", "one"}, {"videos/b/three", ""}}).ok());
  }
  const auto store = Open();
  EXPECT_EQ(Bytes(*store, "videos/a/one"), "one");
  EXPECT_EQ(Bytes(*store, "videos/a/two"), std::string(1 << 20, '2'));
  EXPECT_EQ(Bytes(*store, "videos/b/three"), "");
  EXPECT_TRUE(absl::IsNotFound(store->Get("videos/b/four").status()));
  EXPECT_TRUE(absl::IsNotFound(store->Get("videos/c/one").status()));
  EXPECT_THAT(Names(*store, "videos"), ElementsAre("a", "b"));
  EXPECT_THAT(Names(*store, "videos/a"), ElementsAre("one", "two"));
  EXPECT_THAT(Names(*store, "none"), ElementsAre());
  ASSERT_TRUE(Remove(*store, "videos/a/two").ok());
  EXPECT_THAT(Names(*store, "videos/a"), ElementsAre("one"));
  EXPECT_EQ(Bytes(*store, "videos/a/one"), "one");
  ASSERT_TRUE(Remove(*store, "videos/a").ok());
  ASSERT_TRUE(Remove(*store, "videos/a").ok()) << "it is gone already";
  EXPECT_THAT(Names(*store, "videos"), ElementsAre("b"));
  EXPECT_TRUE(absl::IsNotFound(store->Get("videos/a/one").status()));
  ASSERT_TRUE(Remove(*store, "videos").ok());
  EXPECT_THAT(Names(*store, "videos"), ElementsAre());
}

TEST_P(StoreContract, ListsAllOfAFolder) {
  const auto store = Open();
  std::vector<std::string> names;
  for (int i = 10; i < 30; ++i) {
    names.push_back(absl::StrCat("v", i));
    ASSERT_TRUE(Put(*store, {{absl::StrCat("videos/v", i, "/a"), "1"}, {absl::StrCat("videos/v", i, "/b"), "2"}}).ok());
  }
  EXPECT_EQ(Names(*store, "videos"), names);
}

TEST_P(StoreContract, CarriesOutCallsInTheirOrder) {
  const auto store = Open();
  std::vector<int> told;
  for (int i = 0; i < 200; ++i) {
    store->Put({{"a/file", absl::StrCat(i)}}, /*token=*/0, [&told, i](const absl::Status& status) {
      EXPECT_TRUE(status.ok()) << status;
      told.push_back(i);
    });
    if (i % 50 == 10)
      store->Remove("a", /*token=*/0, [](const absl::Status& status) { EXPECT_TRUE(status.ok()) << status; });
  }
  store->AwaitIdle();
  ASSERT_EQ(told.size(), 200u);
  EXPECT_TRUE(std::is_sorted(told.begin(), told.end()));
  EXPECT_EQ(Bytes(*store, "a/file"), "199");
}

TEST_P(StoreContract, RefusesNamesThatLeaveIt) {
  const auto store = Open();
  for (const char* name : {"", "/etc/passwd", "a/../../b", "a//b", "a/./b", "..", "a b", "a\nb"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(Put(*store, {{name, "x"}}))) << name;
    EXPECT_TRUE(absl::IsInvalidArgument(Remove(*store, name))) << name;
    EXPECT_TRUE(absl::IsInvalidArgument(Fence(*store, name, 1))) << name;
    EXPECT_TRUE(absl::IsInvalidArgument(store->Get(name).status())) << name;
    EXPECT_TRUE(absl::IsInvalidArgument(store->List(name).status())) << name;
  }
}

TEST_P(StoreContract, OnlyTheWriterWithTheLargestTokenWrites) {
  const auto a = Open(Sharing::kShared), b = Open(Sharing::kShared);
  EXPECT_TRUE(absl::IsInvalidArgument(Put(*a, {{"videos/v/one", "1"}}))) << "without a token";
  EXPECT_TRUE(absl::IsAborted(Put(*a, {{"videos/v/one", "1"}}, 7))) << "without a fence";
  ASSERT_TRUE(Fence(*a, "videos/v", 1).ok());
  ASSERT_TRUE(Put(*a, {{"videos/v/one", "a"}, {"videos/v/two", "a"}}, 1).ok());
  ASSERT_TRUE(Fence(*b, "videos/v", 2).ok());
  EXPECT_TRUE(absl::IsAborted(Put(*a, {{"videos/v/one", "late"}, {"videos/v/three", "late"}}, 1)));
  EXPECT_TRUE(absl::IsAborted(Remove(*a, "videos/v/one", 1)));
  EXPECT_TRUE(absl::IsAborted(Remove(*a, "videos/v/none", 1)));
  EXPECT_TRUE(absl::IsAborted(Fence(*a, "videos/v", 1))) << "tokens only grow";
  EXPECT_THAT(Names(*b, "videos/v"), ElementsAre("one", "two"));
  EXPECT_EQ(Bytes(*b, "videos/v/one"), "a");
  ASSERT_TRUE(Fence(*b, "videos/v", 2).ok()) << "it is the writer already";
  ASSERT_TRUE(Put(*b, {{"videos/v/one", "b"}}, 2).ok());
  ASSERT_TRUE(Remove(*b, "videos/v/two", 2).ok());
  ASSERT_TRUE(Remove(*b, "videos/v/two", 2).ok()) << "it is gone already";
  EXPECT_THAT(Names(*a, "videos/v"), ElementsAre("one"));
  EXPECT_EQ(Bytes(*a, "videos/v/one"), "b");
}

TEST_P(StoreContract, AFolderThatWasRemovedIsNotMadeAgain) {
  const auto a = Open(Sharing::kShared), b = Open(Sharing::kShared);
  ASSERT_TRUE(Fence(*a, "videos/v", 1).ok());
  ASSERT_TRUE(Put(*a, {{"videos/v/one", "early"}}, 1).ok());
  ASSERT_TRUE(Remove(*b, "videos/v").ok());
  EXPECT_TRUE(absl::IsAborted(Put(*a, {{"videos/v/one", "late"}}, 1)));
  EXPECT_THAT(Names(*b, "videos"), ElementsAre());
}

// The writer before writes all the time, as one would that wakes up: behind Fence nothing of it appears.
TEST_P(StoreContract, NothingOfTheFormerWriterAppearsBehindAFence) {
  const auto a = Open(Sharing::kShared), b = Open(Sharing::kShared);
  for (uint64_t round = 0; round < rounds(); ++round) {
    const uint64_t former = 2 * round + 1, next = former + 1;
    ASSERT_TRUE(Fence(*a, "videos/v", former).ok());
    std::atomic<bool> began = false;
    std::thread late([&] {
      while (Put(*a, {{"videos/v/file", "a"}, {"videos/v/other", "a"}}, former).ok()) began = true;
      began = true;
    });
    while (!began) std::this_thread::yield();
    ASSERT_TRUE(Fence(*b, "videos/v", next).ok());
    ASSERT_TRUE(Put(*b, {{"videos/v/file", "b"}, {"videos/v/other", "b"}}, next).ok());
    EXPECT_EQ(Bytes(*b, "videos/v/file"), "b");
    late.join();
    EXPECT_EQ(Bytes(*b, "videos/v/file"), "b");
    EXPECT_EQ(Bytes(*b, "videos/v/other"), "b");
  }
}

// What a writer was told to be stored is there for the next one, whenever that comes.
TEST_P(StoreContract, NothingThatWasStoredIsLostByAFence) {
  const auto a = Open(Sharing::kShared), b = Open(Sharing::kShared);
  for (uint64_t round = 0; round < rounds(); ++round) {
    const std::string video = absl::StrCat("videos/", round);
    ASSERT_TRUE(Fence(*a, video, 1).ok());
    std::atomic<int> stored = 0;
    std::thread former([&] {
      while (Put(*a, {{absl::StrCat(video, "/", stored.load()), absl::StrCat(stored.load())}}, 1).ok()) ++stored;
    });
    while (stored < 3) std::this_thread::yield();
    ASSERT_TRUE(Fence(*b, video, 2).ok());
    former.join();
    for (int i = 0; i < stored; ++i) EXPECT_EQ(Bytes(*b, absl::StrCat(video, "/", i)), absl::StrCat(i));
  }
}

TEST_P(StoreContract, OfWritersThatComeAtOnceOneIsLeft) {
  const auto a = Open(Sharing::kShared), b = Open(Sharing::kShared);
  for (uint64_t round = 0; round < rounds(); ++round) {
    const std::string video = absl::StrCat("videos/", round);
    absl::Status first;
    std::thread other([&] { first = Fence(*a, video, 1); });
    ASSERT_TRUE(Fence(*b, video, 2).ok());
    other.join();
    EXPECT_TRUE(first.ok() || absl::IsAborted(first)) << first;
    EXPECT_TRUE(absl::IsAborted(Put(*a, {{video + "/file", "a"}}, 1)));
    EXPECT_TRUE(Put(*b, {{video + "/file", "b"}}, 2).ok());
  }
}

TEST_P(StoreContract, WhatWasSharedMayBeOneServersAlone) {
  {
    const auto shared = Open(Sharing::kShared);
    ASSERT_TRUE(Fence(*shared, "videos/v", 1'700'000'000'000'000).ok());
    ASSERT_TRUE(Put(*shared, {{"videos/v/one", "1"}}, 1'700'000'000'000'000).ok());
  }
  {
    const auto alone = Open();
    ASSERT_TRUE(Put(*alone, {{"videos/v/two", "2"}}).ok());
    EXPECT_THAT(Names(*alone, "videos/v"), ElementsAre("one", "two"));
  }
  const auto shared = Open(Sharing::kShared);
  ASSERT_TRUE(Fence(*shared, "videos/v", 1'800'000'000'000'000).ok());
  EXPECT_TRUE(Put(*shared, {{"videos/v/three", "3"}}, 1'800'000'000'000'000).ok());
  EXPECT_THAT(Names(*shared, "videos/v"), ElementsAre("one", "three", "two"));
}

INSTANTIATE_TEST_SUITE_P(Stores, StoreContract, testing::Values("directory", "memory", "moto"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace longtake::server
