#include "scheduler/scheduler.h"

#include <memory>
#include <random>

#include "absl/strings/str_join.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/scheduler/fake_device.h"

namespace longtake::scheduler {
namespace {

using testing::ElementsAre;

class SchedulerTest : public testing::Test {
 protected:
  void TearDown() override { RunAll(); }  // the scheduler waits for its last batch
  void Make(Options options) {
    scheduler.reset();
    device = std::make_unique<FakeDevice>(&clock, options.places);
    scheduler = std::make_unique<Scheduler>(options, &clock, device.get(), &listener);
  }
  // Chunks reach their clients at once, as those of a client that reads do.
  void DeliverAtOnce() {
    listener.on_block = [this](SessionId id, int) { scheduler->ChunkDelivered(id); };
  }
  static Request Video(SessionId id, std::vector<int> blocks, int steps = 2, Delivery delivery = Delivery::kLive) {
    return {.id = id, .delivery = delivery, .block_latents = std::move(blocks), .denoise_steps = steps};
  }
  void RunAll() {
    while (device->FinishBatch()) {
    }
  }
  FakeListener::Story& story(SessionId id) { return listener.story[id]; }

  FakeClock clock;
  FakeListener listener{&clock};
  std::unique_ptr<FakeDevice> device;
  std::unique_ptr<Scheduler> scheduler;
};

TEST_F(SchedulerTest, OneSessionRunsItsPassesInOrderAndDecodesBeforeItGoesOn) {
  Make({.places = 1});
  DeliverAtOnce();
  ASSERT_TRUE(scheduler->Add(Video(7, {2, 1})).ok());
  RunAll();
  EXPECT_THAT(device->log, ElementsAre("open 7", "text 7", "denoise 7", "denoise 7", "commit 7", "decode 7", "decode 7",
                                       "denoise 7", "denoise 7", "commit 7", "decode 7", "close 7"));
  EXPECT_TRUE(story(7).ended);
  EXPECT_TRUE(story(7).status.ok());
  EXPECT_EQ(story(7).block_at.size(), 2u);
  EXPECT_TRUE(story(7).positions.empty());
  const PassReport& last = story(7).passes.back();
  EXPECT_EQ(last.kind, PassKind::kDecode);
  EXPECT_EQ(last.block, 1);
  EXPECT_EQ(last.passes_done, last.passes);
}

// Must show of the server: a chunk's frames are there before the next block's denoising ends, alone or in company.
TEST_F(SchedulerTest, EachBlockIsDecodedBeforeTheNextOnesDenoisingEnds) {
  for (bool overlap : {false, true}) {
    Make({.places = 4, .lanes_overlap = overlap});
    DeliverAtOnce();
    clock = FakeClock();
    listener.story.clear();
    for (SessionId id : {1, 2, 3}) ASSERT_TRUE(scheduler->Add(Video(id, {5, 4, 4}, 6)).ok());
    RunAll();
    for (SessionId id : {1, 2, 3}) {
      ASSERT_TRUE(story(id).ended);
      for (const PassReport& pass : story(id).passes) {
        if (pass.kind == PassKind::kDenoise && pass.step == pass.steps && pass.block > 0) {
          EXPECT_LE(story(id).block_at[pass.block - 1], pass.ended) << "session " << id << " block " << pass.block;
        }
      }
    }
  }
}

TEST_F(SchedulerTest, OverlappingLanesDecodeBesideDenoisingButNeverPastACommit) {
  Make({.places = 1, .lanes_overlap = true});
  DeliverAtOnce();
  ASSERT_TRUE(scheduler->Add(Video(1, {4, 1})).ok());
  RunAll();
  EXPECT_THAT(device->log,
              ElementsAre("open 1", "text 1", "denoise 1", "denoise 1", "commit 1", "decode 1", "denoise 1", "decode 1",
                          "denoise 1", "decode 1", "decode 1", "commit 1", "decode 1", "close 1"));
}

TEST_F(SchedulerTest, AllRunnableSessionsShareABatch) {
  Make({.places = 3});
  DeliverAtOnce();
  ASSERT_TRUE(scheduler->Add(Video(1, {1, 1})).ok());
  ASSERT_TRUE(scheduler->Add(Video(2, {1, 1})).ok());
  ASSERT_TRUE(scheduler->Add(Video(3, {1, 1})).ok());
  device->FinishBatch();  // session 1's text: it came first and alone
  EXPECT_THAT(device->batch,
              testing::UnorderedElementsAre(Pass{PassKind::kDenoise, 1}, Pass{PassKind::kEncodePrompt, 2},
                                            Pass{PassKind::kEncodePrompt, 3}));
  RunAll();
  for (SessionId id : {1, 2, 3}) EXPECT_TRUE(story(id).ended && story(id).status.ok());
}

TEST_F(SchedulerTest, SmallBatchesTakeTurnsAndLiveGoesBeforeOffline) {
  Make({.places = 4, .max_batch_passes = 2});
  DeliverAtOnce();
  ASSERT_TRUE(scheduler->Add(Video(1, {1, 1}, 4, Delivery::kOffline)).ok());
  for (SessionId id : {2, 3, 4}) ASSERT_TRUE(scheduler->Add(Video(id, {1, 1}, 4)).ok());
  device->FinishBatch();
  // The three live ones in turns, two at a time; the offline one not.
  std::map<SessionId, int> passes;
  for (int i = 0; i < 6; ++i) {
    for (const Pass& pass : device->batch) ++passes[pass.session];
    device->FinishBatch();
  }
  EXPECT_EQ(passes[1], 0);
  EXPECT_EQ(passes[2], 4);
  EXPECT_EQ(passes[3], 4);
  EXPECT_EQ(passes[4], 4);
  RunAll();
  EXPECT_TRUE(story(1).ended && story(1).status.ok());
}

TEST_F(SchedulerTest, WaitingRequestsAreToldTheirPositionAndComeInOrder) {
  Make({.places = 1, .max_waiting = 2});
  DeliverAtOnce();
  for (SessionId id : {1, 2, 3}) ASSERT_TRUE(scheduler->Add(Video(id, {1})).ok());
  const absl::Status full = scheduler->Add(Video(4, {1}));
  EXPECT_EQ(full.code(), absl::StatusCode::kResourceExhausted) << full;
  EXPECT_EQ(scheduler->stats().waiting, 2);
  EXPECT_EQ(scheduler->stats().running, 1);
  RunAll();
  EXPECT_THAT(story(2).positions, ElementsAre(1));
  EXPECT_THAT(story(3).positions, ElementsAre(2, 1));
  EXPECT_FALSE(listener.story.contains(4));
  std::vector<std::string> opened;
  for (const std::string& line : device->log) {
    if (line.starts_with("open")) opened.push_back(line);
  }
  EXPECT_THAT(opened, ElementsAre("open 1", "open 2", "open 3"));
}

TEST_F(SchedulerTest, CancellingFreesThePlaceWithinOnePass) {
  Make({.places = 1});
  ASSERT_TRUE(scheduler->Add(Video(1, {3, 3})).ok());
  ASSERT_TRUE(scheduler->Add(Video(2, {1})).ok());
  device->FinishBatch();
  scheduler->Cancel(1, absl::CancelledError("gone"));
  EXPECT_FALSE(story(1).ended) << "its pass is under way";
  device->FinishBatch();
  EXPECT_EQ(story(1).status, absl::CancelledError("gone"));
  EXPECT_TRUE(device->open.contains(2));
  EXPECT_THAT(device->batch, ElementsAre(Pass{PassKind::kEncodePrompt, 2}));
}

TEST_F(SchedulerTest, CancellingAWaitingRequestCostsNothing) {
  Make({.places = 1});
  for (SessionId id : {1, 2, 3}) ASSERT_TRUE(scheduler->Add(Video(id, {1})).ok());
  scheduler->Cancel(2, absl::CancelledError("gone"));
  EXPECT_TRUE(story(2).ended);
  EXPECT_THAT(story(3).positions, ElementsAre(2, 1));
  RunAll();
  EXPECT_THAT(device->log, testing::Not(testing::Contains("open 2")));
  EXPECT_TRUE(story(3).status.ok() && story(3).ended);
}

TEST_F(SchedulerTest, AClientThatDoesNotReadParksOnlyItself) {
  Make({.places = 2, .max_undelivered_chunks = 2});
  listener.on_block = [this](SessionId id, int) {
    if (id == 2) scheduler->ChunkDelivered(id);
  };
  ASSERT_TRUE(scheduler->Add(Video(1, {1, 1, 1, 1})).ok());
  ASSERT_TRUE(scheduler->Add(Video(2, {1, 1, 1, 1})).ok());
  RunAll();
  EXPECT_TRUE(story(2).ended && story(2).status.ok());
  EXPECT_FALSE(story(1).ended);
  EXPECT_EQ(story(1).block_at.size(), 2u);
  EXPECT_EQ(scheduler->stats().parked, 1);
  scheduler->ChunkDelivered(1);
  RunAll();
  EXPECT_EQ(story(1).block_at.size(), 3u);
  scheduler->ChunkDelivered(1);
  RunAll();
  EXPECT_TRUE(story(1).ended && story(1).status.ok()) << "its last chunk waits for nobody";
}

TEST_F(SchedulerTest, AFailedPassEndsOnlyItsSession) {
  Make({.places = 2});
  DeliverAtOnce();
  ASSERT_TRUE(scheduler->Add(Video(1, {2, 2})).ok());
  ASSERT_TRUE(scheduler->Add(Video(2, {2, 2})).ok());
  device->FinishBatch();
  device->pass_error[1] = absl::DataLossError("bad bits");
  RunAll();
  EXPECT_EQ(story(1).status, absl::DataLossError("bad bits"));
  EXPECT_TRUE(story(2).ended && story(2).status.ok());
  EXPECT_TRUE(device->open.empty());
}

TEST_F(SchedulerTest, ARefusedOpenEndsTheSessionAndFreesItsPlace) {
  Make({.places = 1});
  DeliverAtOnce();
  device->open_error[1] = absl::ResourceExhaustedError("no memory");
  ASSERT_TRUE(scheduler->Add(Video(1, {1})).ok());
  EXPECT_EQ(story(1).status, absl::ResourceExhaustedError("no memory"));
  EXPECT_FALSE(story(1).admitted);
  ASSERT_TRUE(scheduler->Add(Video(2, {1})).ok());
  RunAll();
  EXPECT_TRUE(story(2).ended && story(2).status.ok());
}

TEST_F(SchedulerTest, ShuttingDownAdmitsNothingAndEndsWhatIsThere) {
  Make({.places = 1});
  ASSERT_TRUE(scheduler->Add(Video(1, {1})).ok());
  ASSERT_TRUE(scheduler->Add(Video(2, {1})).ok());
  scheduler->StopAdmission(absl::UnavailableError("down"));
  EXPECT_EQ(scheduler->Add(Video(3, {1})), absl::UnavailableError("down"));
  EXPECT_TRUE(story(2).ended) << "it had not begun";
  device->FinishBatch();
  EXPECT_FALSE(story(1).ended) << "it had";
  scheduler->CancelAll(absl::UnavailableError("down"));
  RunAll();
  EXPECT_EQ(story(1).status, absl::UnavailableError("down"));
  EXPECT_EQ(story(2).status, absl::UnavailableError("down"));
  EXPECT_EQ(device->batches, 2);
}

TEST_F(SchedulerTest, RefusesRequestsThatContradictThemselves) {
  Make({.places = 1});
  EXPECT_EQ(scheduler->Add(Video(1, {})).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(scheduler->Add(Video(1, {2, 0})).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(scheduler->Add(Video(1, {2}, 0)).code(), absl::StatusCode::kInvalidArgument);
  ASSERT_TRUE(scheduler->Add(Video(1, {2})).ok());
  EXPECT_EQ(scheduler->Add(Video(1, {2})).code(), absl::StatusCode::kInvalidArgument);
  RunAll();
}

TEST_F(SchedulerTest, ADeviceThatCompletesInsideSubmitIsFine) {
  Make({.places = 2});
  DeliverAtOnce();
  device->complete_inside_submit = true;
  ASSERT_TRUE(scheduler->Add(Video(1, {3, 2})).ok());
  EXPECT_TRUE(story(1).ended && story(1).status.ok());
}

TEST_F(SchedulerTest, SaysWhenAPlaceShouldBecomeFree) {
  Make({.places = 1});
  EXPECT_EQ(scheduler->stats().next_place, absl::Seconds(1));
  ASSERT_TRUE(scheduler->Add(Video(1, {1}, 3)).ok());
  for (int i = 0; i < 3; ++i) device->FinishBatch();
  // Left: a denoise, a commit, a decode. Mean of 200, 100, 100 ms, the newest counting a tenth: 181 ms.
  EXPECT_NEAR(absl::ToDoubleSeconds(scheduler->stats().next_place), 3 * 0.181, 1e-9);
  RunAll();
}

// Random arrivals, cancels, errors and reads: each accepted request ends exactly once (the listener checks), its blocks
// come without gaps, and nothing stays open. Two runs of one seed make the same decisions.
TEST_F(SchedulerTest, RandomHistoriesEndCleanlyAndRepeat) {
  for (uint64_t seed = 0; seed < 200; ++seed) {
    std::string first;
    for (int run = 0; run < 2; ++run) {
      std::mt19937_64 random(seed);
      const auto roll = [&](int n) { return static_cast<int>(random() % n); };
      clock = FakeClock();
      listener.story.clear();
      listener.on_block = nullptr;
      Make({.places = 1 + roll(3),
            .max_waiting = 3,
            .max_batch_passes = 1 + roll(4),
            .max_undelivered_chunks = 1 + roll(2),
            .lanes_overlap = roll(2) == 0});
      SessionId next = 1;
      for (int i = 0; i < 300; ++i) {
        const SessionId some = 1 + roll(static_cast<int>(next));
        switch (roll(8)) {
          case 0: {
            std::vector<int> blocks(1 + roll(3), 1 + roll(3));
            const SessionId id = next++;
            if (scheduler->Add(Video(id, blocks, 1 + roll(3), roll(2) ? Delivery::kLive : Delivery::kOffline)).ok()) {
              listener.story[id];
            }
            break;
          }
          case 1:
            scheduler->Cancel(some, absl::CancelledError("random"));
            break;
          case 2:
            if (roll(10) == 0) device->pass_error[some] = absl::InternalError("random");
            break;
          case 3:
            scheduler->ChunkDelivered(some);
            break;
          default:
            device->FinishBatch();
            break;
        }
      }
      for (int round = 0; round < 40; ++round) {
        for (SessionId id = 1; id < next; ++id) scheduler->ChunkDelivered(id);
        RunAll();
      }
      for (const auto& [id, story] : listener.story) {
        EXPECT_TRUE(story.ended) << "seed " << seed << " session " << id;
      }
      EXPECT_TRUE(device->open.empty());
      EXPECT_EQ(scheduler->stats().running, 0);
      EXPECT_EQ(scheduler->stats().waiting, 0);
      const std::string log = absl::StrJoin(device->log, "\n");
      if (run == 0) first = log;
      EXPECT_EQ(log, first);
    }
  }
}

}  // namespace
}  // namespace longtake::scheduler
