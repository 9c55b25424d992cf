// A store in a directory: what it has beyond the promises of every store (store_contract_test).
#include "server/store/store.h"

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/temp_folder.h"
#include "tests/server/store_calls.h"

namespace longtake::server {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::unique_ptr<Store> Open(const TempFolder& folder) {
  absl::StatusOr<std::unique_ptr<Store>> store = OpenDirectoryStore(folder.path() + "/store", Sharing::kAlone);
  EXPECT_TRUE(store.ok()) << store.status();
  return *std::move(store);
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

TEST(DirectoryStore, HasOneOwner) {
  const TempFolder folder;
  {
    const auto store = Open(folder);
    const auto second = OpenDirectoryStore(folder.path() + "/store", Sharing::kAlone);
    EXPECT_TRUE(absl::IsFailedPrecondition(second.status())) << second.status();
    EXPECT_THAT(std::string(second.status().message()), HasSubstr(folder.path()));
  }
  Open(folder);
  EXPECT_FALSE(OpenDirectoryStore(folder.Write("file", "") + "/store", Sharing::kAlone).ok());
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
      const auto store = OpenDirectoryStore(folder.path() + "/store", Sharing::kAlone);
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
    const auto store = OpenDirectoryStore(folder.path() + "/store", Sharing::kAlone);
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

std::unique_ptr<Store> OpenShared(const TempFolder& folder) {
  absl::StatusOr<std::unique_ptr<Store>> store = OpenDirectoryStore(folder.path() + "/store", Sharing::kShared);
  EXPECT_TRUE(store.ok()) << store.status();
  return *std::move(store);
}

// A directory that was moved, or whose file system has gone and left an empty one.
TEST(DirectoryStore, OneThatIsAwayIsNotAnEmptyOne) {
  const TempFolder folder;
  const std::string here = folder.path() + "/store", away = folder.path() + "/away";
  const auto store = Open(folder);
  ASSERT_TRUE(Put(*store, {{"videos/a/one", "1"}}).ok());
  std::filesystem::rename(here, away);
  for (const bool empty : {false, true}) {
    if (empty) std::filesystem::create_directory(here);
    EXPECT_TRUE(absl::IsUnavailable(Put(*store, {{"videos/a/two", "2"}})));
    EXPECT_TRUE(absl::IsUnavailable(Remove(*store, "videos/a")));
    EXPECT_TRUE(absl::IsUnavailable(store->Get("videos/a/one").status()));
    EXPECT_TRUE(absl::IsUnavailable(store->List("videos").status()));
  }
  EXPECT_TRUE(std::filesystem::is_empty(here)) << "it was written into";
  std::filesystem::remove(here);
  std::filesystem::rename(away, here);
  EXPECT_TRUE(Put(*store, {{"videos/a/two", "2"}}).ok());
  EXPECT_THAT(Names(*store, "videos/a"), ElementsAre("one", "two"));
}

TEST(SharedStore, OneThatIsAwayIsNotAnotherWriters) {
  const TempFolder folder;
  const std::string here = folder.path() + "/store", away = folder.path() + "/away";
  const auto store = OpenShared(folder);
  ASSERT_TRUE(Fence(*store, "videos/v", 1).ok());
  std::filesystem::rename(here, away);
  for (const bool empty : {false, true}) {
    if (empty) std::filesystem::create_directory(here);
    EXPECT_TRUE(absl::IsUnavailable(Put(*store, {{"videos/v/one", "1"}}, 1)));
    EXPECT_TRUE(absl::IsUnavailable(Remove(*store, "videos/v/one", 1)));
    EXPECT_TRUE(absl::IsUnavailable(Fence(*store, "videos/v", 2)));
    EXPECT_TRUE(absl::IsUnavailable(Fence(*store, "videos/w", 3)));
  }
  EXPECT_TRUE(std::filesystem::is_empty(here)) << "it was written into";
  std::filesystem::remove(here);
  std::filesystem::rename(away, here);
  EXPECT_TRUE(Put(*store, {{"videos/v/one", "1"}}, 1).ok()) << "it is the writer still";
}

TEST(DirectoryStore, IsSharedOrIsOneServersAlone) {
  const TempFolder folder;
  {
    const auto shared = OpenShared(folder);
    const auto alone = OpenDirectoryStore(folder.path() + "/store", Sharing::kAlone);
    EXPECT_TRUE(absl::IsFailedPrecondition(alone.status())) << alone.status();
    ASSERT_TRUE(Fence(*shared, "videos/v", 1).ok());
    ASSERT_TRUE(Put(*shared, {{"videos/v/one", "1"}}, 1).ok());
  }
  // What was shared may be one server's alone later.
  const auto alone = Open(folder);
  const auto shared = OpenDirectoryStore(folder.path() + "/store", Sharing::kShared);
  EXPECT_TRUE(absl::IsFailedPrecondition(shared.status())) << shared.status();
  EXPECT_TRUE(Put(*alone, {{"videos/v/two", "2"}}).ok());
  EXPECT_THAT(Names(*alone, "videos/v"), ElementsAre("one", "two"));
}

}  // namespace
}  // namespace longtake::server
