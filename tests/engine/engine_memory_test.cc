// What the engine allocates while it runs, and what happens where an allocation fails.
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/allocations.h"
#include "tests/engine/engine_driver.h"
#include "tests/engine/engine_mixes.h"
#include "tests/engine/temp_folder.h"

namespace longtake {
namespace {

class EngineMemoryTest : public testing::Test {
 protected:
  void Load(const TempFolder& folder) {
    auto engine = Engine::Load({.model_dir = folder.path(), .threads = 2, .max_sessions = 2});
    ASSERT_TRUE(engine.ok()) << engine.status();
    engine_ = *std::move(engine);
  }
  SessionId Open(uint64_t seed) { return *engine_->OpenSession({kSmall, 8, seed}); }
  absl::Status Run(PassKind kind, SessionId id) { return RunPass(*engine_, {kind, id, "a red ball"}).status; }

  // A block of the session, which has a prompt.
  void MakeBlock(SessionId id) {
    const SessionProgress at = *engine_->progress(id);
    for (int step = 0; step < engine_->model().denoise_steps; ++step) {
      ASSERT_TRUE(Run(PassKind::kDenoise, id).ok());
    }
    ASSERT_TRUE(Run(PassKind::kCommit, id).ok());
    for (int frame = 0; frame < at.block_frames; ++frame) ASSERT_TRUE(Run(PassKind::kDecode, id).ok());
  }

  // Runs the pass, which allocates so many times.
  void ExpectAllocations(PassKind kind, SessionId id, int64_t allocations) {
    const int64_t before = Allocations();
    TraceAllocations(std::getenv("LONGTAKE_TRACE_ALLOCATIONS") != nullptr);
    ASSERT_TRUE(Run(kind, id).ok());
    TraceAllocations(false);
    EXPECT_EQ(Allocations() - before, allocations) << "pass " << static_cast<int>(kind);
  }

  // Runs the pass while its nth allocation fails, which it has to say. Nothing: it has fewer, and succeeded.
  std::optional<absl::Status> RunFailing(int64_t nth, PassKind kind, SessionId id) {
    FailAllocation(nth);
    const absl::Status status = Run(kind, id);
    const bool failed = AllocationFailed();
    FailAllocation(0);
    if (!failed) {
      EXPECT_TRUE(status.ok()) << status;
      return std::nullopt;
    }
    EXPECT_TRUE(absl::IsResourceExhausted(status)) << status << " of allocation " << nth;
    return status;
  }

  const ExemptThread this_thread_;
  std::unique_ptr<Engine> engine_;
};

// The steady state: passes of shapes that have run before. A decode's result is the caller's, and takes one allocation
// for its frames; nothing else is exempt.
TEST_F(EngineMemoryTest, TheSteadyStateAllocatesNothing) {
  for (const char* settings : {kTwoSizes, kRunningSum}) {
    const TempFolder folder;
    Variant(folder, settings);
    Load(folder);
    const SessionId id = Open(1);
    ASSERT_TRUE(Run(PassKind::kEncodePrompt, id).ok());
    for (int block = 0; block < 3; ++block) MakeBlock(id);  // the state's window is two
    const int frames = engine_->progress(id)->block_frames;
    for (int step = 0; step < engine_->model().denoise_steps; ++step) ExpectAllocations(PassKind::kDenoise, id, 0);
    ExpectAllocations(PassKind::kCommit, id, 0);
    for (int frame = 0; frame < frames; ++frame) ExpectAllocations(PassKind::kDecode, id, 1);
  }
}

// Loading has run every kind of pass. The first ones of a session with a block of the same shape, one latent frame of
// the smallest size, find everything in place.
TEST_F(EngineMemoryTest, TheFirstPassesAreWarm) {
  for (const char* settings : {kTwoSizes, kRunningSum, kBidirectional}) {
    const TempFolder folder;
    Variant(folder, settings);
    Load(folder);
    const SessionId id = *engine_->OpenSession({kSmall, 1, 1});
    ASSERT_TRUE(Run(PassKind::kEncodePrompt, id).ok());
    for (int step = 0; step < engine_->model().denoise_steps; ++step) ExpectAllocations(PassKind::kDenoise, id, 0);
    ExpectAllocations(PassKind::kCommit, id, 0);
    ExpectAllocations(PassKind::kDecode, id, 1);
  }
}

// Each allocation of each kind of pass fails once. The pass says so, its session has ended with that, a session beside
// it makes the bytes that it makes alone, and the slot is as good as before.
TEST_F(EngineMemoryTest, AFailedAllocationEndsItsSessionOnly) {
  const TempFolder folder;
  Variant(folder, kRunningSum);
  Load(folder);
  const Job job{.spec = {kSmall, 4, 5}, .prompt = "a blue box"};
  const std::vector<uint8_t> expected = RunJobs(*engine_, {job}, 1.0, 0)[0].bytes;
  int failures = 0;
  for (const PassKind kind : {PassKind::kEncodePrompt, PassKind::kDenoise, PassKind::kCommit, PassKind::kDecode}) {
    SCOPED_TRACE(static_cast<int>(kind));
    // Every one of the first, then fewer and fewer of the tokenizer's hundreds.
    for (int64_t nth = 1;; nth += 1 + nth / 8) {
      // A new engine has what a pass keeps for the next one still to allocate.
      Load(folder);
      const SessionId victim = Open(1);
      if (kind != PassKind::kEncodePrompt) {
        ASSERT_TRUE(Run(PassKind::kEncodePrompt, victim).ok());
      }
      if (kind == PassKind::kCommit || kind == PassKind::kDecode) {
        for (int step = 0; step < engine_->model().denoise_steps; ++step) {
          ASSERT_TRUE(Run(PassKind::kDenoise, victim).ok());
        }
      }
      if (kind == PassKind::kDecode) {
        ASSERT_TRUE(Run(PassKind::kCommit, victim).ok());
      }
      const std::optional<absl::Status> status = RunFailing(nth, kind, victim);
      if (!status.has_value()) break;
      ++failures;
      for (const PassKind later : {PassKind::kEncodePrompt, PassKind::kDenoise, PassKind::kCommit, PassKind::kDecode}) {
        EXPECT_EQ(Run(later, victim), *status);
      }
      EXPECT_EQ(RunJobs(*engine_, {job}, 1.0, 0)[0].bytes, expected);
      engine_->CloseSession(victim);
      EXPECT_EQ(engine_->memory().back().slots_used, 0);
    }
  }
  EXPECT_GT(failures, 10);
}

// A checkpoint is a large allocation, and the session needs none of it.
TEST_F(EngineMemoryTest, AFailedSaveLeavesItsSession) {
  const TempFolder folder;
  Variant(folder, kRunningSum);
  Load(folder);
  const SessionId id = Open(1);
  ASSERT_TRUE(Run(PassKind::kEncodePrompt, id).ok());
  MakeBlock(id);
  int failures = 0;
  while (RunFailing(failures + 1, PassKind::kSave, id).has_value()) ++failures;
  EXPECT_GT(failures, 2);
  MakeBlock(id);
}

}  // namespace
}  // namespace longtake
