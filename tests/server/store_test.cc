#include "server/store/store.h"

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <future>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/temp_folder.h"

namespace longtake::server {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

absl::Status Put(Store& store, std::vector<StoredFile> files) {
  std::promise<absl::Status> done;
  store.Put(std::move(files), [&done](const absl::Status& status) { done.set_value(status); });
  return done.get_future().get();
}

absl::Status Remove(Store& store, const std::string& folder) {
  std::promise<absl::Status> done;
  store.Remove(folder, [&done](const absl::Status& status) { done.set_value(status); });
  return done.get_future().get();
}

// What is in the folder.
std::vector<std::string> Names(const Store& store, const std::string& folder) {
  absl::StatusOr<std::vector<std::string>> names = store.List(folder);
  EXPECT_TRUE(names.ok()) << names.status();
  return names.value_or(std::vector<std::string>());
}

std::string Bytes(const Store& store, const std::string& name) {
  absl::StatusOr<std::string> bytes = store.Get(name);
  EXPECT_TRUE(bytes.ok()) << bytes.status();
  return bytes.value_or("");
}

std::unique_ptr<Store> Open(const TempFolder& folder) {
  absl::StatusOr<std::unique_ptr<Store>> store = OpenDirectoryStore(folder.path() + "/store");
  EXPECT_TRUE(store.ok()) << store.status();
  return *std::move(store);
}

TEST(DirectoryStore, KeepsFilesUntilTheyAreRemoved) {
  const TempFolder folder;
  {
    const auto store = Open(folder);
    ASSERT_TRUE(Put(*store, {{"videos/a/one", "1"}, {"videos/a/two", std::string(1 << 20, '2')}}).ok());
    ASSERT_TRUE(Put(*store, {{"videos/a/one", "one"}, {"videos/b/three", ""}}).ok());
  }
  const auto store = Open(folder);
  EXPECT_EQ(Bytes(*store, "videos/a/one"), "one");
  EXPECT_EQ(Bytes(*store, "videos/a/two"), std::string(1 << 20, '2'));
  EXPECT_EQ(Bytes(*store, "videos/b/three"), "");
  EXPECT_TRUE(absl::IsNotFound(store->Get("videos/b/four").status()));
  EXPECT_THAT(Names(*store, "videos"), ElementsAre("a", "b"));
  EXPECT_THAT(Names(*store, "videos/a"), ElementsAre("one", "two"));
  EXPECT_THAT(Names(*store, "none"), ElementsAre());
  ASSERT_TRUE(Remove(*store, "videos/a").ok());
  ASSERT_TRUE(Remove(*store, "videos/a").ok()) << "it is gone already";
  EXPECT_THAT(Names(*store, "videos"), ElementsAre("b"));
  EXPECT_TRUE(absl::IsNotFound(store->Get("videos/a/one").status()));
}

TEST(DirectoryStore, SweepsWhatWasLeftHalfWrittenOrHalfRemoved) {
  const TempFolder folder;
  folder.Write("store/videos/a/one", "1");
  folder.Write("store/videos/a/two.7.unfinished", "2");
  folder.Write("store/videos/b.8.unfinished/video.json", "3");
  const auto store = Open(folder);
  EXPECT_THAT(Names(*store, "videos"), ElementsAre("a"));
  EXPECT_FALSE(std::filesystem::exists(folder.path() + "/store/videos/b.8.unfinished"));
  EXPECT_FALSE(std::filesystem::exists(folder.path() + "/store/videos/a/two.7.unfinished"));
}

TEST(DirectoryStore, CarriesOutCallsInTheirOrder) {
  const TempFolder folder;
  const auto store = Open(folder);
  std::vector<int> told;
  for (int i = 0; i < 200; ++i) {
    store->Put({{"a/file", absl::StrCat(i)}}, [&told, i](const absl::Status& status) {
      EXPECT_TRUE(status.ok()) << status;
      told.push_back(i);
    });
    if (i % 50 == 10) store->Remove("a", [](const absl::Status& status) { EXPECT_TRUE(status.ok()) << status; });
  }
  store->AwaitIdle();
  ASSERT_EQ(told.size(), 200u);
  EXPECT_TRUE(std::is_sorted(told.begin(), told.end()));
  EXPECT_EQ(Bytes(*store, "a/file"), "199");
}

TEST(DirectoryStore, RefusesNamesThatLeaveIt) {
  const TempFolder folder;
  const auto store = Open(folder);
  for (const char* name : {"", "/etc/passwd", "a/../../b", "a//b", "a/./b", "..", "a b", "a\nb"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(Put(*store, {{name, "x"}}))) << name;
    EXPECT_TRUE(absl::IsInvalidArgument(Remove(*store, name))) << name;
    EXPECT_TRUE(absl::IsInvalidArgument(store->Get(name).status())) << name;
    EXPECT_TRUE(absl::IsInvalidArgument(store->List(name).status())) << name;
  }
}

TEST(DirectoryStore, HasOneOwner) {
  const TempFolder folder;
  {
    const auto store = Open(folder);
    const auto second = OpenDirectoryStore(folder.path() + "/store");
    EXPECT_TRUE(absl::IsFailedPrecondition(second.status())) << second.status();
    EXPECT_THAT(std::string(second.status().message()), HasSubstr(folder.path()));
  }
  Open(folder);
  EXPECT_FALSE(OpenDirectoryStore(folder.Write("file", "") + "/store").ok());
}

// Each file's bytes say how many they are. The child writes a byte to a pipe for each of its first two Puts, and is
// killed some time after the second.
TEST(DirectoryStore, AFileIsWholeOrNotThereWhereTheProcessWasKilled) {
  const TempFolder folder;
  std::minstd_rand random(1);
  constexpr int kStored = 2;
  for (int round = 0; round < 10; ++round) {
    std::array<int, 2> said = {};
    ASSERT_EQ(pipe(said.data()), 0);
    const pid_t child = fork();
    if (child == 0) {
      close(said[0]);
      const auto store = OpenDirectoryStore(folder.path() + "/store");
      if (!store.ok()) _exit(1);
      for (int i = 0;; ++i) {
        const std::string bytes(1000 + 997 * i % 200'000, static_cast<char>('a' + i % 26));
        std::vector<StoredFile> files;
        for (const char* part : {"a", "b"}) files.push_back({absl::StrCat("videos/", round, "-", i, "/", part), bytes});
        if (!Put(**store, std::move(files)).ok()) _exit(1);
        if (i < kStored && write(said[1], "s", 1) != 1) _exit(1);
      }
    }
    close(said[1]);
    char byte = 0;
    for (int i = 0; i < kStored; ++i) ASSERT_EQ(read(said[0], &byte, 1), 1) << "the child ended by itself";
    close(said[0]);
    // At once, where what was just stored has to be there already; else in the midst of anything.
    if (round % 3 != 0) absl::SleepFor(absl::Milliseconds(random() % 50));
    kill(child, SIGKILL);
    int status = 0;
    waitpid(child, &status, 0);
    ASSERT_TRUE(WIFSIGNALED(status)) << "the child ended by itself: " << WEXITSTATUS(status);
    const auto store = Open(folder);
    int found = 0;
    for (const std::string& name : Names(*store, "videos")) {
      const std::vector<std::string> parts = Names(*store, "videos/" + name);
      const int i = std::stoi(name.substr(name.find('-') + 1));
      for (const std::string& part : parts) {
        EXPECT_EQ(Bytes(*store, absl::StrCat("videos/", name, "/", part)),
                  std::string(1000 + 997 * i % 200'000, static_cast<char>('a' + i % 26)));
        ++found;
      }
      EXPECT_TRUE(parts.size() != 1 || parts[0] == "a") << "files come in their order";
    }
    EXPECT_GE(found, 2 * kStored * (round + 1)) << "what was stored is gone";
  }
}

TEST(DirectoryStore, AFileThatDoesNotFitIsAnErrorAndTheNextOneIsStored) {
  const TempFolder folder;
  const pid_t child = fork();
  if (child == 0) {
    signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{1 << 16, 1 << 16};
    setrlimit(RLIMIT_FSIZE, &limit);
    const auto store = OpenDirectoryStore(folder.path() + "/store");
    if (!store.ok()) _exit(1);
    const absl::Status large = Put(**store, {{"a/small", "s"}, {"a/large", std::string(1 << 17, 'x')}});
    if (!absl::IsResourceExhausted(large)) _exit(2);
    if (large.message().find("a/large") == std::string::npos) _exit(3);
    if (!(*store)->List("a")->empty()) _exit(4);
    if (!Put(**store, {{"a/small", "s"}}).ok()) _exit(5);
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
  EXPECT_EQ(Bytes(*Open(folder), "a/small"), "s");
}

}  // namespace
}  // namespace longtake::server
