// Prompts that change and steps that become fewer while a session runs.
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "scheduler/scheduler.h"
#include "scheduler/tuning.h"
#include "tests/scheduler/fixture.h"

namespace longtake::scheduler {
namespace {

using testing::ElementsAre;

class DirectionTest : public SchedulerFixture {
 protected:
  void SetUp() override { Make({.places = 4}); }
  using SchedulerFixture::Video;
  static Request Video(uint64_t id, int blocks, int steps = 2) { return Live(id, blocks, steps); }
  // The number of the block from which the change holds.
  absl::StatusOr<int> Change(uint64_t id, int block) {
    const absl::StatusOr<Scheduler::PromptPlace> place = scheduler->ChangePrompt(SessionId{id}, block);
    if (!place.ok()) return place.status();
    return place->block;
  }
  // Prompt and block of each encoding.
  std::vector<std::pair<int, int>> Encodings(uint64_t id) {
    std::vector<std::pair<int, int>> out;
    for (const PassReport& pass : listener.story[id].passes) {
      if (pass.kind == PassKind::kEncodePrompt) out.emplace_back(pass.prompt, pass.block);
    }
    return out;
  }
  // Steps of each block.
  std::vector<int> Steps(uint64_t id) {
    std::vector<int> out;
    for (const PassReport& pass : listener.story[id].passes) {
      if (pass.kind == PassKind::kDenoise && pass.step == pass.steps) out.push_back(pass.steps);
    }
    return out;
  }
};

TEST_F(DirectionTest, AStorysPromptsAreEncodedBeforeTheirBlocks) {
  Request request = Video(7, 3);
  request.prompt_blocks = {2};
  ASSERT_TRUE(Enter(request).ok());
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
    const uint64_t id = 100 + done;
    ASSERT_TRUE(Enter(Video(id, 3)).ok());
    for (int i = 0; i < done; ++i) device->FinishBatch();  // the next pass is under way
    const absl::StatusOr<int> from = Change(id, 0);
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
    EXPECT_THAT(Encodings(id), ElementsAre(std::pair(0, 0), std::pair(1, expected)));
    EXPECT_TRUE(listener.story[id].status.ok());
    EXPECT_EQ(listener.story[id].passes.back().passes_done, listener.story[id].passes.back().passes);
  }
}

TEST_F(DirectionTest, ALaterChangeForABlockTakesTheFirstOnesPlace) {
  Request request = Video(7, 3);
  request.prompt_blocks = {2};
  ASSERT_TRUE(Enter(request).ok());
  EXPECT_EQ(*Change(7, 1), 1);  // prompt 2: the story has two
  EXPECT_EQ(*Change(7, 2), 2);
  EXPECT_EQ(*Change(7, 1), 1);
  EXPECT_EQ(Change(7, 3).status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(Change(8, 0).status().code(), absl::StatusCode::kNotFound);
  RunAll();
  EXPECT_THAT(Encodings(7), ElementsAre(std::pair(0, 0), std::pair(4, 1), std::pair(3, 2)));
  EXPECT_EQ(Change(7, 0).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(DirectionTest, ARefusedChangeTakesNoNumber) {
  ASSERT_TRUE(Enter(Video(7, 2)).ok());
  EXPECT_FALSE(Change(7, 2).ok());
  EXPECT_EQ(scheduler->ChangePrompt(SessionId{7}, 1)->prompt, 1);
  EXPECT_EQ(scheduler->ChangePrompt(SessionId{7}, 1)->prompt, 2);
}

// A session has encoded the prompt of its next block, and another one goes before it: the block has begun with its
// prompt, so a change holds from the block after it.
TEST_F(DirectionTest, ABlockWhosePromptIsEncodedHasBegun) {
  Make({.places = 2, .max_batch_passes = 1});
  Request request = Video(7, 3);
  request.delivery = Delivery::kOffline;
  request.prompt_blocks = {1};
  ASSERT_TRUE(Enter(request).ok());
  for (int i = 0; i < 5; ++i) device->FinishBatch();
  ASSERT_TRUE(Enter(Video(8, 3)).ok());
  device->FinishBatch();  // the second prompt of 7
  ASSERT_THAT(Encodings(7), ElementsAre(std::pair(0, 0), std::pair(1, 1)));
  ASSERT_THAT(device->running(), ElementsAre(Pass{PassKind::kEncodePrompt, SessionId{8}}));
  EXPECT_EQ(*Change(7, 0), 2);
  RunAll();
  EXPECT_THAT(Encodings(7), ElementsAre(std::pair(0, 0), std::pair(1, 1), std::pair(2, 2)));
}

TEST_F(DirectionTest, AVideoHasOnlySoManyPrompts) {
  ASSERT_TRUE(Enter(Video(7, 3)).ok());
  for (int prompt = 1; prompt < tuning::kMostPrompts; ++prompt) ASSERT_TRUE(Change(7, 2).ok());
  EXPECT_EQ(Change(7, 2).status().code(), absl::StatusCode::kResourceExhausted);
}

TEST_F(DirectionTest, AChangeWhileItWaitsReplacesTheFirstPrompt) {
  for (uint64_t id : {1, 2, 3, 4, 5}) ASSERT_TRUE(Enter(Video(id, 1)).ok());
  EXPECT_EQ(*Change(5, 0), 0);
  RunAll();
  EXPECT_THAT(Encodings(5), ElementsAre(std::pair(1, 0)));
}

// Blocks of a second take 0.32 s.
TEST_F(DirectionTest, ALeadIsNoLongerThanTheRequestPermits) {
  Request request = Video(1, 6);
  request.max_lead = absl::Seconds(2);
  ASSERT_TRUE(Enter(request).ok());
  RunAll();
  // After two blocks the viewer has seen 0.32 s of them, so that a third could begin.
  EXPECT_EQ(listener.story[1].block_at.size(), 3u) << "the device is idle, and it waits all the same";
  RunFor(absl::Seconds(10));
  ASSERT_TRUE(EndedWell(1));
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
  ASSERT_TRUE(Enter(request).ok());
  RunAll();
  EXPECT_EQ(listener.story[1].block_at.size(), 3u);
  request.id = SessionId{2};
  request.max_lead = absl::Seconds(1);
  ASSERT_TRUE(Enter(request).ok());
  RunAll();
  EXPECT_EQ(listener.story[2].block_at.size(), 2u);
}

// A block of 4 steps takes 0.4 + 0.09 + 0.03 s, one of 2 steps 0.2 s less.
TEST_F(DirectionTest, StepsBecomeFewerOnlyWhereChunksWouldBeLate) {
  ASSERT_TRUE(Enter(Video(1, 2, 4)).ok());  // teaches what passes take
  RunAll();
  const auto watched = [&](uint64_t id, double block_seconds, const std::vector<int>& ladder) {
    Request request = Video(id, 12, 4);
    request.first_latent_seconds = request.latent_seconds = block_seconds;
    request.ladder = Ladder(ladder);
    EXPECT_TRUE(Enter(request).ok());
    RunAll();
    return Steps(id);
  };
  EXPECT_THAT(watched(2, 2.0, {4, 2}), testing::Each(4)) << "there is time";
  EXPECT_THAT(watched(3, 0.45, {4}), testing::Each(4)) << "not permitted";
  const std::vector<int> late = watched(4, 0.45, {4, 2});
  EXPECT_THAT(late, testing::Contains(2));
  // The stream keeps up with 0.45 s a block: each chunk after the first is there when the ones before have been played.
  const std::vector<absl::Duration>& at = listener.story[4].block_at;
  for (size_t block = 1; block < at.size(); ++block) {
    EXPECT_LE(absl::ToDoubleSeconds(at[block] - at[0]), 0.45 * static_cast<double>(block) + 1e-9) << "block " << block;
  }
  Request offline = Video(5, 4, 4);
  offline.delivery = Delivery::kOffline;
  offline.ladder = Ladder({4, 2});
  ASSERT_TRUE(Enter(offline).ok());
  RunAll();
  EXPECT_THAT(Steps(5), testing::Each(4)) << "nobody waits for it";
}

// A video that is made again: the prompts that it had by then, in the order of their changes, and the steps of the
// blocks that were shown.
TEST_F(DirectionTest, AVideoThatIsMadeAgainHasThePromptsAndStepsThatItHad) {
  Request request = Video(8, 4, 4);
  request.prompt_blocks = {3, 1, 3};
  request.ladder = Ladder({4, 3, 2});
  request.made_levels = {2, 0, 1};
  ASSERT_TRUE(Enter(request).ok());
  RunAll();
  EXPECT_THAT(Encodings(8), ElementsAre(std::pair(0, 0), std::pair(2, 1), std::pair(3, 3)));
  EXPECT_THAT(Steps(8), ElementsAre(2, 4, 3, 4));
  const PassReport& last = listener.story[8].passes.back();
  EXPECT_EQ(last.passes_done, last.passes);
}

TEST_F(DirectionTest, AVideoGoesOnBehindTheBlocksThatWereMade) {
  Request request = Video(8, 5);
  request.prompt_blocks = {1, 4};
  listener.story[8].made_blocks = request.made_blocks = 3;
  device->suspended.insert(8);
  ASSERT_TRUE(Enter(request).ok());
  RunAll();
  EXPECT_THAT(device->log, ElementsAre("resume 8", "denoise 8", "denoise 8", "commit 8", "decode 8", "text 8",
                                       "denoise 8", "denoise 8", "commit 8", "decode 8", "close 8"));
  EXPECT_THAT(Encodings(8), ElementsAre(std::pair(2, 4)));
  const std::vector<PassReport>& passes = listener.story[8].passes;
  EXPECT_EQ(passes.front().block, 3);
  EXPECT_EQ(passes.back().passes_done, passes.back().passes);
}

TEST_F(DirectionTest, BlocksThatWereShownKeepTheirPrompt) {
  Request request = Video(8, 6);
  request.made_levels = {0, 0, 0};
  ASSERT_TRUE(Enter(request).ok());
  EXPECT_THAT(Change(8, 1), 3);
  RunAll();
  EXPECT_THAT(Encodings(8), ElementsAre(std::pair(0, 0), std::pair(1, 3)));
}

TEST_F(DirectionTest, ContradictionsAreRefused) {
  const auto refused = [&](const std::vector<int>& ladder, std::vector<int> prompt_blocks,
                           std::vector<int> made_levels = {}) {
    Request request = Video(9, 3, 4);
    request.made_levels = std::move(made_levels);
    request.ladder = Ladder(ladder);
    request.prompt_blocks = std::move(prompt_blocks);
    return Enter(request).refusal == Refusal::kInvalid;
  };
  EXPECT_TRUE(refused({}, {}));
  EXPECT_TRUE(refused({0}, {}));
  EXPECT_TRUE(refused({4, 4}, {}));
  EXPECT_TRUE(refused({4, 0}, {}));
  for (const auto& [steps, decode_cost] : {std::pair(4, 1.0), {3, 1.5}, {5, 0.5}}) {
    Request request = Video(9, 3, 4);
    request.ladder.push_back({.steps = steps, .decode_cost = decode_cost});
    EXPECT_EQ(Enter(request).refusal, Refusal::kInvalid) << steps << " " << decode_cost;
  }
  EXPECT_TRUE(refused({4}, {0}));
  EXPECT_TRUE(refused({4}, {3}));
  EXPECT_TRUE(refused({4, 2}, {}, {2}));
  for (const int made_blocks : {-1, 3}) {
    Request request = Video(9, 3);
    request.made_blocks = made_blocks;
    EXPECT_EQ(Enter(request).refusal, Refusal::kInvalid);
  }
  EXPECT_TRUE(refused({4, 2}, {}, {-1}));
  EXPECT_TRUE(refused({4}, {}, {0, 0, 0, 0}));
}

}  // namespace
}  // namespace longtake::scheduler
