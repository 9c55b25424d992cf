#include "scheduler/scheduler.h"

#include <limits>
#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_join.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "scheduler/tuning.h"
#include "tests/scheduler/fixture.h"

namespace longtake::scheduler {
namespace {

using testing::ElementsAre;

using SchedulerTest = SchedulerFixture;

TEST_F(SchedulerTest, OneSessionRunsItsPassesInOrderAndDecodesBeforeItGoesOn) {
  Make({.places = 1});
  ASSERT_TRUE(Enter(Video(7, {2, 1})).ok());
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
    Make({.places = 4}, overlap ? OverlappingLanes() : OneLane());
    listener.story.clear();
    for (uint64_t id : {1, 2, 3}) ASSERT_TRUE(Enter(Video(id, {5, 4, 4}, 6)).ok());
    RunAll();
    for (uint64_t id : {1, 2, 3}) {
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
  Make({.places = 1}, OverlappingLanes());
  ASSERT_TRUE(Enter(Video(1, {4, 1})).ok());
  RunAll();
  // A denoising pass takes 100 ms, a decode 30.
  EXPECT_THAT(device->log,
              ElementsAre("open 1", "text 1", "denoise 1", "denoise 1", "commit 1", "decode 1", "decode 1", "decode 1",
                          "denoise 1", "decode 1", "denoise 1", "commit 1", "decode 1", "close 1"));
  device->cost[PassKind::kDecode] = absl::Milliseconds(120);
  device->log.clear();
  ASSERT_TRUE(Enter(Video(2, {4, 1})).ok());
  RunAll();
  EXPECT_THAT(device->log,
              ElementsAre("open 2", "text 2", "denoise 2", "denoise 2", "commit 2", "denoise 2", "decode 2",
                          "denoise 2", "decode 2", "decode 2", "decode 2", "commit 2", "decode 2", "close 2"))
      << "the commit waits for the block before it to be decoded";
}

TEST_F(SchedulerTest, AllRunnableSessionsShareABatch) {
  Make({.places = 3});
  ASSERT_TRUE(Enter(Video(1, {1, 1})).ok());
  ASSERT_TRUE(Enter(Video(2, {1, 1})).ok());
  ASSERT_TRUE(Enter(Video(3, {1, 1})).ok());
  device->FinishBatch();  // session 1's text: it came first and alone
  EXPECT_THAT(device->running(), testing::UnorderedElementsAre(Pass{PassKind::kDenoise, SessionId{1}},
                                                               Pass{PassKind::kEncodePrompt, SessionId{2}},
                                                               Pass{PassKind::kEncodePrompt, SessionId{3}}));
  RunAll();
  for (uint64_t id : {1, 2, 3}) EXPECT_TRUE(story(id).ended && story(id).status.ok());
}

TEST_F(SchedulerTest, SmallBatchesTakeTurnsAndLiveGoesBeforeOffline) {
  Make({.places = 4, .max_batch_passes = 2});
  ASSERT_TRUE(Enter(Video(1, {1, 1}, 4, Delivery::kOffline)).ok());
  for (uint64_t id : {2, 3, 4}) ASSERT_TRUE(Enter(Video(id, {1, 1}, 4)).ok());
  device->FinishBatch();
  // The three live ones in turns, two at a time; the offline one not.
  std::map<uint64_t, int> passes;
  for (int i = 0; i < 6; ++i) {
    for (const Pass& pass : device->running()) ++passes[Number(pass.session)];
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
  for (uint64_t id : {1, 2, 3}) ASSERT_TRUE(Enter(Video(id, {1})).ok());
  const Quote full = Enter(Video(4, {1}));
  EXPECT_EQ(full.refusal, Refusal::kQueueFull);
  EXPECT_EQ(full.status.code(), absl::StatusCode::kResourceExhausted) << full.status;
  EXPECT_EQ(full.retry_after, tuning::kRetryUnknown) << "costs are not known yet";
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
  ASSERT_TRUE(Enter(Video(1, {3, 3})).ok());
  ASSERT_TRUE(Enter(Video(2, {1})).ok());
  device->FinishBatch();
  Cancel(1);
  EXPECT_FALSE(story(1).ended) << "its pass is under way";
  device->FinishBatch();
  EXPECT_EQ(story(1).status, absl::CancelledError("gone"));
  EXPECT_TRUE(device->open.contains(2));
  EXPECT_THAT(device->running(), ElementsAre(Pass{PassKind::kEncodePrompt, SessionId{2}}));
}

TEST_F(SchedulerTest, CancellingAWaitingRequestCostsNothing) {
  Make({.places = 1});
  for (uint64_t id : {1, 2, 3}) ASSERT_TRUE(Enter(Video(id, {1})).ok());
  Cancel(2);
  EXPECT_TRUE(story(2).ended);
  EXPECT_THAT(story(3).positions, ElementsAre(2, 1));
  RunAll();
  EXPECT_THAT(device->log, testing::Not(testing::Contains("open 2")));
  EXPECT_TRUE(story(3).status.ok() && story(3).ended);
}

TEST_F(SchedulerTest, AClientThatDoesNotReadParksOnlyItself) {
  Make({.places = 2, .max_undelivered_blocks = 2});
  silent = {1};
  ASSERT_TRUE(Enter(Video(1, {1, 1, 1, 1})).ok());
  ASSERT_TRUE(Enter(Video(2, {1, 1, 1, 1})).ok());
  RunAll();
  EXPECT_TRUE(EndedWell(2));
  EXPECT_FALSE(story(1).ended);
  EXPECT_EQ(story(1).block_at.size(), 2u);
  EXPECT_EQ(scheduler->stats().parked, 1);
  Deliver(1, 0, 1);
  RunAll();
  EXPECT_EQ(story(1).block_at.size(), 3u);
  Deliver(1, 1, 1);
  RunAll();
  EXPECT_TRUE(EndedWell(1)) << "its last chunk waits for nobody";
}

TEST_F(SchedulerTest, AFailedPassEndsOnlyItsSession) {
  Make({.places = 2});
  ASSERT_TRUE(Enter(Video(1, {2, 2})).ok());
  ASSERT_TRUE(Enter(Video(2, {2, 2})).ok());
  device->FinishBatch();
  device->pass_error[1] = absl::DataLossError("bad bits");
  RunAll();
  EXPECT_EQ(story(1).status, absl::DataLossError("bad bits"));
  EXPECT_TRUE(story(2).ended && story(2).status.ok());
  EXPECT_TRUE(device->open.empty());
}

TEST_F(SchedulerTest, ARefusedOpenEndsTheSessionAndFreesItsPlace) {
  Make({.places = 1});
  device->open_error[1] = absl::ResourceExhaustedError("no memory");
  ASSERT_TRUE(Enter(Video(1, {1})).ok());
  EXPECT_EQ(story(1).status, absl::ResourceExhaustedError("no memory"));
  EXPECT_FALSE(story(1).admitted);
  ASSERT_TRUE(Enter(Video(2, {1})).ok());
  RunAll();
  EXPECT_TRUE(story(2).ended && story(2).status.ok());
}

TEST_F(SchedulerTest, ShuttingDownAdmitsNothingAndEndsWhatIsThere) {
  Make({.places = 1});
  ASSERT_TRUE(Enter(Video(1, {1})).ok());
  ASSERT_TRUE(Enter(Video(2, {1})).ok());
  scheduler->StopAdmission(absl::UnavailableError("down"));
  const Quote refused = Enter(Video(3, {1}));
  EXPECT_EQ(refused.status, absl::UnavailableError("down"));
  EXPECT_EQ(refused.refusal, Refusal::kStopped);
  EXPECT_TRUE(story(2).ended) << "it had not begun";
  device->FinishBatch();
  EXPECT_FALSE(story(1).ended) << "it had";
  scheduler->CancelAll(absl::UnavailableError("down"));
  loop.RunReady();
  RunAll();
  EXPECT_EQ(story(1).status, absl::UnavailableError("down"));
  EXPECT_EQ(story(2).status, absl::UnavailableError("down"));
  EXPECT_EQ(device->batches, 2);
}

TEST_F(SchedulerTest, RefusesRequestsThatContradictThemselves) {
  Make({.places = 1});
  const auto refused = [&](const Request& request) {
    const Quote quote = Enter(request);
    EXPECT_EQ(quote.refusal == Refusal::kInvalid, quote.status.code() == absl::StatusCode::kInvalidArgument);
    EXPECT_TRUE(quote.ok() || quote.retry_after == absl::InfiniteDuration()) << "trying again changes nothing";
    return quote.refusal == Refusal::kInvalid;
  };
  EXPECT_TRUE(refused(Video(1, {})));
  EXPECT_TRUE(refused(Video(1, {2, 0})));
  EXPECT_TRUE(refused(Video(1, {2}, 0)));
  for (double Request::*field : {&Request::latent_tokens, &Request::first_latent_seconds, &Request::latent_seconds}) {
    Request request = Video(1, {2});
    request.*field = 0;
    EXPECT_TRUE(refused(request));
  }
  for (double Rung::*field : {&Rung::decode_cost, &Rung::first_decode}) {
    Request request = Video(1, {2});
    request.ladder[0].*field = 0;
    EXPECT_TRUE(refused(request));
  }
  EXPECT_FALSE(refused(Video(1, {2})));
  EXPECT_TRUE(refused(Video(1, {2}))) << "the id is in use";
}

TEST_F(SchedulerTest, ADeviceThatCompletesInsideSubmitIsFine) {
  Make({.places = 2});
  device->complete_inside_submit = true;
  ASSERT_TRUE(Enter(Video(1, {3, 2})).ok());
  EXPECT_TRUE(story(1).ended && story(1).status.ok());
}

// Random arrivals, cancels, errors and reads: each accepted request ends exactly once (the listener checks), its blocks
// come without gaps, and nothing stays open. Two runs of one seed make the same decisions.
TEST_F(SchedulerTest, RandomHistoriesEndCleanlyAndRepeat) {
  for (uint64_t seed = 0; seed < 200; ++seed) {
    std::string first;
    for (int run = 0; run < 2; ++run) {
      std::mt19937_64 random(seed);
      const auto roll = [&](int n) { return static_cast<int>(random() % n); };
      listener.story.clear();
      requests.clear();
      const int devices = 1 + roll(2);
      std::vector<LaneInfo> lanes = OverlappingLanes(devices);
      if (roll(2) == 0) lanes = {{DeviceId{0}}, {DeviceId{1}}};
      for (LaneInfo& lane : lanes) lane.decoder_places = roll(3);
      Make({.places = 1 + roll(3),
            .max_waiting = 3,
            .max_batch_passes = 1 + roll(4),
            .max_undelivered_blocks = 1 + roll(2),
            .lead_high = absl::Seconds(1 + roll(4)),
            .max_lead = absl::Seconds(2 + roll(4)),
            .max_live_load = roll(2) == 0 ? 0.9 : std::numeric_limits<double>::infinity()},
           std::move(lanes));
      device->suspends = roll(2) == 0;
      listener.on_pass = nullptr;
      const absl::Duration began = clock.Now();
      std::map<uint64_t, absl::Duration> read;
      const auto deliver = [&](uint64_t id) {
        if (!requests.contains(id)) return;
        read[id] += absl::Seconds(1);
        scheduler->Delivered(SessionId{id}, read[id]);
        loop.RunReady();
      };
      uint64_t next = 1;
      for (int i = 0; i < 300; ++i) {
        const uint64_t some = 1 + roll(static_cast<int>(next));
        switch (roll(9)) {
          case 0: {
            std::vector<int> blocks(1 + roll(3), 1 + roll(3));
            const uint64_t id = next++;
            if (Enter(Video(id, blocks, 1 + roll(3), roll(2) ? Delivery::kLive : Delivery::kOffline)).ok()) {
              listener.story[id];
            }
            break;
          }
          case 1:
            Cancel(some, absl::CancelledError("random"));
            break;
          case 2:
            if (roll(10) == 0) device->pass_error[some] = absl::InternalError("random");
            break;
          case 3:
            deliver(some);
            break;
          case 4:
            Consumed(some, absl::Seconds(roll(3)), roll(2) == 0);
            break;
          default:
            device->FinishPass();
            break;
        }
      }
      for (int round = 0; round < 40; ++round) {
        for (uint64_t id = 1; id < next; ++id) {
          Consumed(id, absl::Seconds(round), false);
          deliver(id);
        }
        RunFor(absl::Seconds(10));
      }
      for (const auto& [id, story] : listener.story) {
        EXPECT_TRUE(story.ended) << "seed " << seed << " session " << id;
      }
      EXPECT_TRUE(device->open.empty());
      EXPECT_TRUE(device->suspended.empty());
      EXPECT_EQ(scheduler->stats().running, 0);
      EXPECT_EQ(scheduler->stats().waiting, 0);
      const std::string log = absl::StrCat(absl::StrJoin(device->log, "\n"), absl::FormatDuration(clock.Now() - began));
      if (run == 0) first = log;
      EXPECT_EQ(log, first);
    }
    if (HasFailure()) break;
  }
}

}  // namespace
}  // namespace longtake::scheduler
