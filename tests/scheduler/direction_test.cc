// Prompts that change and steps that become fewer while a session runs.
#include <memory>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "scheduler/scheduler.h"
#include "tests/scheduler/fake_device.h"

namespace longtake::scheduler {
namespace {

using testing::ElementsAre;

class DirectionTest : public testing::Test {
 protected:
  void SetUp() override { Make({.places = 4}); }
  void Make(const Options& options) {
    scheduler = nullptr;  // before the device that it drives
    device = std::make_unique<FakeDevice>(&clock, options.places);
    scheduler = std::make_unique<Scheduler>(options, &clock, device.get(), &listener);
    listener.on_block = [this](SessionId id, int) { scheduler->ChunkDelivered(id); };
  }
  void TearDown() override {
    scheduler->CancelAll(absl::CancelledError("end"));
    RunAll();
  }
  static Request Video(SessionId id, int blocks, int steps = 2) {
    return {.id = id, .block_latents = std::vector<int>(blocks, 1), .denoise_steps = steps};
  }
  void RunAll() {
    while (device->FinishBatch()) {
    }
  }
  // Prompt and block of each encoding.
  std::vector<std::pair<int, int>> Encodings(SessionId id) {
    std::vector<std::pair<int, int>> out;
    for (const PassReport& pass : listener.story[id].passes) {
      if (pass.kind == PassKind::kEncodePrompt) out.emplace_back(pass.prompt, pass.block);
    }
    return out;
  }
  // Steps of each block.
  std::vector<int> Steps(SessionId id) {
    std::vector<int> out;
    for (const PassReport& pass : listener.story[id].passes) {
      if (pass.kind == PassKind::kDenoise && pass.step == pass.steps) out.push_back(pass.steps);
    }
    return out;
  }

  FakeClock clock;
  FakeListener listener{&clock};
  std::unique_ptr<FakeDevice> device;
  std::unique_ptr<Scheduler> scheduler;
};

TEST_F(DirectionTest, AStorysPromptsAreEncodedBeforeTheirBlocks) {
  Request request = Video(7, 3);
  request.prompt_blocks = {2};
  ASSERT_TRUE(scheduler->Add(request).ok());
  RunAll();
  EXPECT_THAT(device->log, ElementsAre("open 7", "text 7", "denoise 7", "denoise 7", "commit 7", "decode 7",
                                       "denoise 7", "denoise 7", "commit 7", "decode 7", "text 7", "denoise 7",
                                       "denoise 7", "commit 7", "decode 7", "close 7"));
  EXPECT_THAT(Encodings(7), ElementsAre(std::pair(0, 0), std::pair(1, 2)));
  const PassReport& last = listener.story[7].passes.back();
  EXPECT_EQ(last.passes_done, last.passes);
}

// Asked at every moment of a video's life: the change holds from the first block that has not begun.
TEST_F(DirectionTest, AChangeHoldsFromTheNextBlock) {
  constexpr int kPasses = 1 + 3 * 4;  // text; denoise, denoise, commit, decode
  for (int done = 0; done < kPasses; ++done) {
    SCOPED_TRACE(done);
    const SessionId id = 100 + done;
    ASSERT_TRUE(scheduler->Add(Video(id, 3)).ok());
    for (int i = 0; i < done; ++i) device->FinishBatch();  // the next pass is under way
    const absl::StatusOr<int> from = scheduler->ChangePrompt(id, 0, 5);
    // Text under way, or anything of block 0 up to its commit: 1. Its decode: block 1 has not begun.
    const int expected = done <= 4 ? 1 : done <= 8 ? 2 : done == 9 ? 3 : 3;
    if (expected == 3) {
      EXPECT_EQ(from.status().code(), absl::StatusCode::kFailedPrecondition) << from.status();
      RunAll();
      EXPECT_THAT(Encodings(id), ElementsAre(std::pair(0, 0)));
      continue;
    }
    ASSERT_TRUE(from.ok()) << from.status();
    EXPECT_EQ(*from, expected);
    RunAll();
    EXPECT_THAT(Encodings(id), ElementsAre(std::pair(0, 0), std::pair(5, expected)));
    EXPECT_TRUE(listener.story[id].status.ok());
    EXPECT_EQ(listener.story[id].passes.back().passes_done, listener.story[id].passes.back().passes);
  }
}

TEST_F(DirectionTest, ALaterChangeForABlockTakesTheFirstOnesPlace) {
  Request request = Video(7, 3);
  request.prompt_blocks = {2};
  ASSERT_TRUE(scheduler->Add(request).ok());
  EXPECT_EQ(*scheduler->ChangePrompt(7, 1, 2), 1);
  EXPECT_EQ(*scheduler->ChangePrompt(7, 2, 3), 2);
  EXPECT_EQ(*scheduler->ChangePrompt(7, 1, 4), 1);
  EXPECT_EQ(scheduler->ChangePrompt(7, 3, 5).status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(scheduler->ChangePrompt(8, 0, 5).status().code(), absl::StatusCode::kNotFound);
  RunAll();
  EXPECT_THAT(Encodings(7), ElementsAre(std::pair(0, 0), std::pair(4, 1), std::pair(3, 2)));
  EXPECT_EQ(scheduler->ChangePrompt(7, 0, 5).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(DirectionTest, AChangeWhileItWaitsReplacesTheFirstPrompt) {
  for (SessionId id : {1, 2, 3, 4, 5}) ASSERT_TRUE(scheduler->Add(Video(id, 1)).ok());
  EXPECT_EQ(*scheduler->ChangePrompt(5, 0, 1), 0);
  RunAll();
  EXPECT_THAT(Encodings(5), ElementsAre(std::pair(1, 0)));
}

// Blocks of a second take 0.32 s.
TEST_F(DirectionTest, ALeadIsNoLongerThanTheRequestPermits) {
  Request request = Video(1, 6);
  request.block_seconds.assign(6, 1.0);
  request.max_lead = absl::Seconds(2);
  ASSERT_TRUE(scheduler->Add(request).ok());
  RunAll();
  // After two blocks the viewer has seen 0.32 s of them, so that a third could begin.
  EXPECT_EQ(listener.story[1].block_at.size(), 3u) << "the device is idle, and it waits all the same";
  while (!listener.story[1].ended) {
    clock.Advance(absl::Milliseconds(50));
    scheduler->Poll();
    RunAll();
  }
  const std::vector<absl::Duration>& at = listener.story[1].block_at;
  for (size_t block = 2; block < at.size(); ++block) {
    // It begins when the lead has fallen below 2 s, and is there before the viewer needs it.
    EXPECT_GE(at[block] - at[0], absl::Seconds(static_cast<int>(block) - 2)) << block;
    EXPECT_LE(at[block] - at[0], absl::Seconds(static_cast<int>(block))) << block;
  }
}

// Of the scheduler's and the request's the shorter.
TEST_F(DirectionTest, ALeadIsNoLongerThanTheSchedulerPermits) {
  Make({.places = 4, .max_lead = absl::Seconds(2)});
  Request request = Video(1, 6);
  request.block_seconds.assign(6, 1.0);
  ASSERT_TRUE(scheduler->Add(request).ok());
  RunAll();
  EXPECT_EQ(listener.story[1].block_at.size(), 3u);
  request.id = 2;
  request.max_lead = absl::Seconds(1);
  ASSERT_TRUE(scheduler->Add(request).ok());
  RunAll();
  EXPECT_EQ(listener.story[2].block_at.size(), 2u);
}

// A block of 4 steps takes 0.4 + 0.09 + 0.03 s, one of 2 steps 0.2 s less.
TEST_F(DirectionTest, StepsBecomeFewerOnlyWhereChunksWouldBeLate) {
  ASSERT_TRUE(scheduler->Add(Video(1, 2, 4)).ok());  // teaches what passes take
  RunAll();
  const auto watched = [&](SessionId id, double block_seconds, std::vector<int> ladder) {
    Request request = Video(id, 12, 4);
    request.block_seconds.assign(12, block_seconds);
    request.step_ladder = std::move(ladder);
    EXPECT_TRUE(scheduler->Add(request).ok());
    RunAll();
    return Steps(id);
  };
  EXPECT_THAT(watched(2, 2.0, {4, 2}), testing::Each(4)) << "there is time";
  EXPECT_THAT(watched(3, 0.45, {}), testing::Each(4)) << "not permitted";
  const std::vector<int> late = watched(4, 0.45, {4, 2});
  EXPECT_THAT(late, testing::Contains(2));
  // The stream keeps up with 0.45 s a block: each chunk after the first is there when the ones before have been played.
  const std::vector<absl::Duration>& at = listener.story[4].block_at;
  for (size_t block = 1; block < at.size(); ++block) {
    EXPECT_LE(absl::ToDoubleSeconds(at[block] - at[0]), 0.45 * static_cast<double>(block) + 1e-9) << "block " << block;
  }
  Request offline = Video(5, 4, 4);
  offline.delivery = Delivery::kOffline;
  offline.step_ladder = {4, 2};
  ASSERT_TRUE(scheduler->Add(offline).ok());
  RunAll();
  EXPECT_THAT(Steps(5), testing::Each(4)) << "nobody waits for it";
}

TEST_F(DirectionTest, ContradictionsAreRefused) {
  const auto refused = [&](std::vector<int> ladder, std::vector<int> prompt_blocks) {
    Request request = Video(9, 3, 4);
    request.step_ladder = std::move(ladder);
    request.prompt_blocks = std::move(prompt_blocks);
    return scheduler->Add(request).code() == absl::StatusCode::kInvalidArgument;
  };
  EXPECT_TRUE(refused({3, 2}, {}));
  EXPECT_TRUE(refused({4, 4}, {}));
  EXPECT_TRUE(refused({4, 0}, {}));
  EXPECT_TRUE(refused({}, {0}));
  EXPECT_TRUE(refused({}, {3}));
  EXPECT_TRUE(refused({}, {2, 2}));
}

}  // namespace
}  // namespace longtake::scheduler
