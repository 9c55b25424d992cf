// The engine under a limit of its process: it loads and makes a video, or says which limit does not suffice. It never
// ends the process.
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "engine/core/system_files.h"
#include "engine/engine.h"
#include "gtest/gtest.h"
#include "tests/engine/engine_driver.h"
#include "tests/engine/engine_mixes.h"
#include "tests/engine/process_memory.h"

namespace longtake {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;

enum Outcome : int { kMadeAVideo, kNamedTheLimit, kOther, kNotPossible };

Outcome LoadAndRun(const std::string& model, int threads) {
  const auto engine = Engine::Load({.model_dir = model, .threads = threads, .max_sessions = 2});
  if (!engine.ok()) {
    const std::string message(engine.status().message());
    for (const char* named : {"threads: ", "thread: ", "max_sessions: ", "cannot be mapped",
                              "tokenizer library: ", "MiB are left of the address space (ulimit -v)"}) {
      if (absl::StrContains(message, named)) return kNamedTheLimit;
    }
    std::fprintf(stderr, "%s\n", engine.status().ToString().c_str());
    return kOther;
  }
  const absl::StatusOr<SessionId> id = (*engine)->OpenSession({kLarge, 1, 1});
  for (const PassKind kind : {PassKind::kEncodePrompt, PassKind::kDenoise}) {
    const absl::Status status = RunPass(**engine, {kind, *id, "a red ball"}).status;
    if (!status.ok() && !absl::IsResourceExhausted(status)) return kOther;
  }
  return kMadeAVideo;
}

// In a process of its own with `more` bytes of address space beside what this one has. -1: a signal ended it.
int OutcomeWithin(uint64_t more, int threads) {
  const pid_t child = fork();
  if (child == 0) {
    const uint64_t mapped = StatusBytes("/proc/self/status", "VmSize:");
    const rlimit limit{mapped + more, mapped + more};
    setrlimit(RLIMIT_AS, &limit);
    _exit(LoadAndRun(kBundled, threads));
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(Limits, OfTheAddressSpaceAreErrors) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer needs the address space for itself";
  int named = 0, made = 0;
  for (uint64_t mib = 0; made == 0; mib += 1 + mib / 6) {
    ASSERT_LT(mib, 100000u);
    for (const int threads : {1, 4}) {
      const int outcome = OutcomeWithin(mib * kMiB, threads);
      EXPECT_TRUE(outcome == kMadeAVideo || outcome == kNamedTheLimit) << outcome << " within " << mib << " MiB";
      named += outcome == kNamedTheLimit ? 1 : 0;
      made += outcome == kMadeAVideo ? 1 : 0;
    }
  }
  EXPECT_GT(named, 10);
}

// In a process of its own that may have so many processes and threads of its user. The limit does not bind the
// superuser, so that one becomes nobody first. -2: it could not.
int OutcomeWithThreads(rlim_t processes) {
  const pid_t child = fork();
  if (child == 0) {
    constexpr uid_t kNobody = 65534;
    if (geteuid() == 0 && setresuid(kNobody, kNobody, kNobody) != 0) _exit(kNotPossible);
    if (access(kBundled, R_OK | X_OK) != 0) _exit(kNotPossible);
    const rlimit limit{processes, processes};
    setrlimit(RLIMIT_NPROC, &limit);
    _exit(LoadAndRun(kBundled, 4));
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(Limits, OfThreadsAreErrors) {
  if (OutcomeWithThreads(RLIM_INFINITY) == kNotPossible) GTEST_SKIP() << "nobody cannot read the model";
  int named = 0;
  for (const rlim_t processes : {0, 1, 2, 3, 4, 5, 6, 8}) {
    const int outcome = OutcomeWithThreads(processes);
    EXPECT_TRUE(outcome == kMadeAVideo || outcome == kNamedTheLimit) << outcome << " with " << processes;
    named += outcome == kNamedTheLimit ? 1 : 0;
  }
  EXPECT_GE(named, 2);
}

// What the process has taken after a video, against the plan: loading leaves nothing behind. Beside the plan there are
// the vocabulary, and what the C library keeps of freed memory.
bool TakesThePlannedMemory() {
  const int64_t before = AnonymousBytes();
  const auto engine = Engine::Load({.model_dir = kBundled, .threads = 2, .max_sessions = 2});
  if (!engine.ok()) return false;
  for (const uint64_t seed : {1, 2}) {  // their frames are dropped at once
    const SessionId id = *(*engine)->OpenSession({kLarge, 5, seed});
    std::vector<PassKind> kinds = {PassKind::kEncodePrompt};
    kinds.insert(kinds.end(), (*engine)->model().denoise_steps, PassKind::kDenoise);
    kinds.push_back(PassKind::kCommit);
    kinds.insert(kinds.end(), (*engine)->progress(id)->block_frames, PassKind::kDecode);
    for (const PassKind kind : kinds) {
      if (!RunPass(**engine, {.kind = kind, .session = id, .prompt = "a red ball"}).status.ok()) return false;
    }
  }
  int64_t plan = 0;
  for (const MemoryRegion& region : (*engine)->memory()) plan += static_cast<int64_t>(region.planned_bytes);
  const int64_t taken = AnonymousBytes() - before;
  std::fprintf(stderr, "planned %.1f MB, taken %.1f MB\n", 1e-6 * static_cast<double>(plan),
               1e-6 * static_cast<double>(taken));
  return static_cast<double>(taken) <= 1.05 * static_cast<double>(plan) && taken > plan / 2;
}

TEST(Limits, MemoryIsAsPlanned) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer takes memory for itself";
  const pid_t child = fork();  // for a heap that no other test has grown
  if (child == 0) _exit(TakesThePlannedMemory() ? 0 : 1);
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

}  // namespace
}  // namespace longtake
