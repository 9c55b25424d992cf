// How the blocks of an adaptive stream are made: at full fidelity on an idle device, lower on the ladder under load.
#include <algorithm>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "scheduler/scheduler.h"
#include "tests/scheduler/fixture.h"

namespace longtake::scheduler {
namespace {

using testing::Contains;
using testing::Each;

const std::vector<int> kLadder = {8, 5, 3};  // as the bundled model's

// A block takes 8 × 0.1 + 0.09 + 0.03 = 0.92 s alone, 0.62 s in 5 steps and 0.42 s in 3.
class LadderTest : public SchedulerFixture {
 protected:
  static Request Video(uint64_t id, int blocks, double block_seconds) {
    Request request = Live(id, blocks, kLadder[0]);
    request.ladder = Ladder(kLadder);
    request.first_latent_seconds = request.latent_seconds = block_seconds;
    return request;
  }
  // Until nothing is left to do. Between batches pass up to `restless`, never twice the same: threads that wake late,
  // other processes.
  void RunAll(absl::Duration restless = absl::ZeroDuration()) {
    while (device->FinishBatch()) {
      noise_ = noise_ * 6364136223846793005u + 1442695040888963407u;
      clock.Advance(restless * (static_cast<double>(noise_ >> 40) / (1 << 24)));
    }
  }
  // Of each block, as told with all of its denoising passes.
  std::vector<int> Steps(uint64_t id) {
    std::vector<int> out;
    for (const PassReport& pass : listener.story[id].passes) {
      if (pass.kind != PassKind::kDenoise) continue;
      if (pass.step == 1) out.push_back(pass.steps);
      EXPECT_EQ(pass.steps, out.back()) << "session " << id << ", block " << pass.block;
      EXPECT_EQ(pass.block, static_cast<int>(out.size()) - 1);
    }
    return out;
  }
  // The most by which a chunk, of block `from` or a later one, came after the ones before it had been played.
  double Late(uint64_t id, double block_seconds, size_t from = 1) {
    const std::vector<absl::Duration>& at = listener.story[id].block_at;
    absl::Duration start = at[0], worst;
    for (size_t block = 1; block < at.size(); ++block) {
      const absl::Duration needed = start + absl::Seconds(block_seconds * static_cast<double>(block));
      if (block >= from) worst = std::max(worst, at[block] - needed);
      start += std::max(absl::ZeroDuration(), at[block] - needed);
    }
    return absl::ToDoubleSeconds(worst);
  }

  uint64_t noise_ = 1;
};

TEST_F(LadderTest, AloneOnAnIdleDeviceItKeepsAllSteps) {
  // The device makes 5 s of video in 0.92 s.
  Make({.places = 4});
  for (uint64_t id = 1; id <= 6; ++id) {
    ASSERT_TRUE(Enter(Video(id, 12, 5)).ok());
    RunAll();
    EXPECT_THAT(Steps(id), Each(8)) << "stream " << id;
  }
}

TEST_F(LadderTest, ARestlessMachineCostsAnIdleStreamNoSteps) {
  Make({.places = 4});
  for (uint64_t id = 1; id <= 12; ++id) {
    ASSERT_TRUE(Enter(Video(id, 12, 5)).ok());
    RunAll(absl::Milliseconds(60));
    EXPECT_THAT(Steps(id), Each(8)) << "stream " << id;
  }
}

TEST_F(LadderTest, ALeadLimitIsNoLoad) {
  Make({.places = 4});
  for (uint64_t id = 1; id <= 3; ++id) {
    Request request = Video(id, 8, 2);
    request.max_lead = absl::Seconds(3);
    ASSERT_TRUE(Enter(request).ok());
    RunFor(absl::Seconds(30));
    EXPECT_TRUE(EndedWell(id));
    EXPECT_THAT(Steps(id), Each(8)) << "stream " << id;
  }
}

TEST_F(LadderTest, AFirstChunkLosesNoStepsToASmallDelay) {
  Make({.places = 4});
  ASSERT_TRUE(Enter(Video(1, 3, 5)).ok());
  RunAll();
  // Its text takes half as long again as ever before: 0.1 s of the 1.12 s until its first chunk.
  ASSERT_TRUE(Enter(Video(2, 3, 5)).ok());
  clock.Advance(absl::Milliseconds(100));
  RunAll();
  EXPECT_THAT(Steps(2), Each(8));
}

// With and without a decoder that works beside the transformer.
class LoadedLadderTest : public LadderTest, public testing::WithParamInterface<bool> {};
INSTANTIATE_TEST_SUITE_P(Lanes, LoadedLadderTest, testing::Bool());

// Three streams need 3 × 0.92 = 2.76 s of the device for each 2.2 s that they play, in 5 steps 1.86 s.
TEST_P(LoadedLadderTest, StepsFallAsTheLadderSaysAndComeBack) {
  constexpr double kBlock = 2.2;
  const auto run = [&](bool adaptive) {
    Make({.places = 4}, GetParam() ? OverlappingLanes() : OneLane());
    ASSERT_TRUE(Enter(Video(1, 3, 5)).ok());  // teaches what passes take
    RunAll();
    for (uint64_t id : {2, 3, 4}) {
      Request request = Video(id, id == 2 ? 60 : 20, kBlock);
      if (!adaptive) request.ladder.resize(1);
      ASSERT_TRUE(Enter(request).ok());
    }
    RunAll();
  };
  run(false);
  std::vector<double> late = {Late(2, kBlock), Late(3, kBlock), Late(4, kBlock)};
  std::sort(late.begin(), late.end());
  EXPECT_GT(late[2], 0.5) << "too much for all three";
  EXPECT_LT(late[1], 0.1) << "so two are served in time, rather than none";
  listener.story.clear();
  run(true);
  for (uint64_t id : {2, 3, 4}) {
    const std::vector<int> steps = Steps(id);
    EXPECT_THAT(steps, Each(testing::AnyOf(8, 5, 3))) << "stream " << id;
    EXPECT_THAT(steps, Contains(testing::Lt(8))) << "stream " << id;
    // The load is predicted from the last blocks': a chunk may be late by a pass, not by more. Where the next block
    // begins before the last one is decoded, that is known one block later, and all three have just begun.
    EXPECT_LT(Late(id, kBlock, GetParam() ? 4 : 1), 0.1) << "stream " << id;
    EXPECT_LT(Late(id, kBlock), 0.5) << "stream " << id;
  }
  // Alone again, once the others have ended.
  const std::vector<int> steps = Steps(2);
  EXPECT_THAT(std::vector<int>(steps.end() - 20, steps.end()), Each(8));
}

// A block takes 8 × 0.1 + 0.09 + 0.6 = 1.49 s alone, 0.99 s in 3 steps, and 0.54 s in 3 steps by a decoder that takes a
// quarter. Two streams that play 1.9 s a block need that one.
TEST_F(LadderTest, ASmallerDecoderServesWhereFewerStepsAreNotEnough) {
  constexpr double kBlock = 1.9;
  Make({.places = 4});
  device->cost[PassKind::kDecode] = absl::Milliseconds(600);
  device->ladder = Ladder({8, 5, 3, 3});
  device->ladder[3].decode_cost = 0.25;
  for (Rung& rung : device->ladder) rung.rebuild_latents = 4;
  ASSERT_TRUE(Enter(Video(1, 3, 5)).ok());  // teaches what passes take
  RunAll();
  for (uint64_t id : {2, 3}) {
    Request request = Video(id, id == 2 ? 70 : 20, kBlock);
    request.ladder = device->ladder;
    ASSERT_TRUE(Enter(request).ok());
  }
  RunAll();
  std::map<uint64_t, std::vector<int>> levels;
  for (uint64_t id : {2, 3}) {
    for (const PassReport& pass : listener.story[id].passes) {
      if (pass.kind == PassKind::kDecode) levels[id].push_back(pass.level);
    }
    EXPECT_THAT(levels[id], Contains(3)) << "stream " << id;
    EXPECT_LT(Late(id, kBlock, 4), 0.1) << "stream " << id;
  }
  // Alone again it goes back, though the full decoder's memory takes 2.4 s to build, and stays there.
  const std::vector<int>& all = levels[2];
  EXPECT_THAT(std::vector<int>(all.end() - 30, all.end()), Each(0));
}

TEST_F(LadderTest, WhoDidNotAllowItKeepsAllStepsUnderLoad) {
  Make({.places = 4});
  ASSERT_TRUE(Enter(Video(1, 3, 5)).ok());
  RunAll();
  Request full = Video(2, 20, 2.2);
  full.ladder.resize(1);
  ASSERT_TRUE(Enter(full).ok());
  ASSERT_TRUE(Enter(Video(3, 20, 2.2)).ok());
  ASSERT_TRUE(Enter(Video(4, 20, 2.2)).ok());
  RunAll();
  EXPECT_THAT(Steps(2), Each(8));
  EXPECT_THAT(Steps(3), Contains(testing::Lt(8)));
  EXPECT_THAT(Steps(4), Contains(testing::Lt(8)));
}

}  // namespace
}  // namespace longtake::scheduler
