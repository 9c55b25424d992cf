// Lanes and devices at the same time: none waits for another.
#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "scheduler/tuning.h"
#include "tests/scheduler/fixture.h"

namespace longtake::scheduler {
namespace {

std::vector<LaneInfo> Devices(int count) {
  std::vector<LaneInfo> lanes;
  for (int device = 0; device < count; ++device) lanes.push_back({DeviceId{device}});
  return lanes;
}

class LanesTest : public SchedulerFixture {
 protected:
  // Seconds until the sessions, all there from the start, are made.
  double MakeAll(int sessions, const std::vector<int>& blocks) {
    const absl::Duration began = clock.Now();
    for (int i = 0; i < sessions; ++i) {
      const Quote quote = Enter(Video(next_++, blocks, 2, Delivery::kOffline));
      EXPECT_TRUE(quote.ok()) << quote.status;
    }
    RunAll();
    EXPECT_EQ(scheduler->stats().running, 0);
    return absl::ToDoubleSeconds(clock.Now() - began);
  }
  uint64_t next_ = 1;
};

// A block takes 2 x 100 + 90 ms in the transformer's lane and 4 x 70 ms in the decoder's.
TEST_F(LanesTest, OverlappingLanesTakeTheLongerSumNotTheSumOfTheLonger) {
  Make({.places = 2}, OverlappingLanes());
  device->cost[PassKind::kDecode] = absl::Milliseconds(70);
  const double overlapping = MakeAll(2, std::vector<int>(20, 4));
  EXPECT_LT(overlapping, 1.2 * 2 * 20 * 0.290);
  Make({.places = 2}, OneLane());
  device->cost[PassKind::kDecode] = absl::Milliseconds(70);
  EXPECT_GT(MakeAll(2, std::vector<int>(20, 4)) / overlapping, 1.7);
}

TEST_F(LanesTest, TwoDevicesMakeTwiceAsMuch) {
  Make({.places = 4}, Devices(1));
  const double one = MakeAll(4, std::vector<int>(10, 2));
  Make({.places = 4}, Devices(2));
  const double two = MakeAll(8, std::vector<int>(10, 2));
  EXPECT_LT(two, 1.02 * one);
}

TEST_F(LanesTest, ADeviceRunsItsBatchesWhileAnotherIsInTheMiddleOfOne) {
  Make({.places = 1}, Devices(2));
  device->cost[PassKind::kEncodePrompt] = absl::Seconds(30);
  ASSERT_TRUE(Enter(Video(1, {1, 1})).ok());
  RunFor(absl::Seconds(20));
  ASSERT_TRUE(Enter(Video(2, {1, 1})).ok());
  RunFor(absl::Seconds(15));
  EXPECT_TRUE(EndedWell(1)) << "10 s after its prompt, while the other device still encodes one";
  EXPECT_TRUE(story(2).passes.empty());
}

TEST_F(LanesTest, LiveStreamsGoWhereTheirFirstChunkComesFirst) {
  Make({.places = 3, .max_live_load = 0.95}, Devices(2));
  Learn();
  // 0.82 of a device, then four of 0.22.
  ASSERT_TRUE(Enter(Live(1, 200, 7)).ok());
  for (uint64_t id : {2, 3, 4}) {
    RunFor(absl::Seconds(2));
    ASSERT_TRUE(Enter(Live(id, 200, 1)).ok());
  }
  for (uint64_t id : {2, 3, 4}) {
    EXPECT_TRUE(story(id).admitted) << id;
    EXPECT_NE(device->open.at(id), device->open.at(1)) << id << " would be too much for the other device";
  }
  RunFor(absl::Seconds(60));
  for (uint64_t id : {1, 2, 3, 4}) EXPECT_LE(WorstStall(id), absl::ZeroDuration()) << id;
}

TEST_F(LanesTest, OfflineSessionsGoToTheEmptiestDevice) {
  Make({.places = 4}, Devices(3));
  for (uint64_t id = 1; id <= 6; ++id) ASSERT_TRUE(Enter(Offline(id, 5)).ok());
  std::vector<int> on(3);
  for (const auto& [id, where] : device->open) ++on[Index(where)];
  EXPECT_THAT(on, testing::Each(2));
}

// One device has room for the live request's load, and the other has an offline session too.
TEST_F(LanesTest, AnOfflineSessionGivesItsPlaceWhereTheLoadPermits) {
  Make({.places = 2, .max_live_load = 0.9}, Devices(2));
  device->suspends = true;
  Learn();
  ASSERT_TRUE(Enter(Live(1, 60, 5)).ok());
  for (uint64_t id : {2, 3, 4}) ASSERT_TRUE(Enter(Offline(id, 60)).ok());
  RunFor(absl::Seconds(1));
  std::vector<uint64_t> beside, elsewhere;
  for (uint64_t id : {2, 3, 4}) (device->open.at(id) == device->open.at(1) ? beside : elsewhere).push_back(id);
  ASSERT_EQ(beside.size(), 1u);
  device->log.clear();
  ASSERT_TRUE(Enter(Live(5, 10, 5)).ok());
  RunFor(absl::Seconds(10));
  EXPECT_TRUE(story(5).admitted);
  EXPECT_THAT(device->log, testing::Contains(absl::StrCat("suspend ", elsewhere.back())));
  EXPECT_THAT(device->log, testing::Not(testing::Contains(absl::StrCat("suspend ", beside.front()))));
  EXPECT_LE(WorstStall(1), absl::ZeroDuration());
}

TEST_F(LanesTest, DevicesLearnTheirFirstCostsFromEachOther) {
  Make({.places = 1}, OverlappingLanes(2));
  Learn();
  const absl::Duration first = scheduler->GetQuote(Live(1, 5)).first_chunk;
  ASSERT_LT(first, absl::InfiniteDuration());
  ASSERT_TRUE(Enter(Live(1, 50)).ok());
  EXPECT_LT(scheduler->GetQuote(Live(2, 5)).first_chunk, 1.5 * first) << "the other device has run nothing so far";
}

// Two tenants' passes, one a batch: whose turn is next does not depend on how the running batch ends.
TEST_F(LanesTest, TheNextBatchIsReadyBeforeTheRunningOneEnds) {
  Make({.places = 4, .max_batch_passes = 1});
  Learn();
  for (uint64_t id : {1, 2, 3}) ASSERT_TRUE(Enter(Offline(id, 50, std::to_string(id))).ok());
  int batches = 0, ready = 0;
  while (device->FinishPass()) {
    ++batches;
    ready += device->depth(0) == 2;
    if (const absl::Duration next = device->NextEnd(); next < absl::InfiniteDuration()) {
      RunFor(next - clock.Now() - absl::Milliseconds(0.5));
      ready += device->depth(0) == 2;
    }
  }
  EXPECT_GT(ready, batches / 2);
}

// The running batch holds all sessions' passes: what they could run next would belong into the next batch.
TEST_F(LanesTest, NoBatchIsDecidedThatTheRunningOnesSessionsBelongInto) {
  Make({.places = 4});
  Learn();
  ASSERT_TRUE(Enter(Offline(1, 50)).ok());
  ASSERT_TRUE(Enter(Live(2, 50)).ok());
  while (device->FinishPass()) {
    if (const absl::Duration next = device->NextEnd(); next < absl::InfiniteDuration()) {
      RunFor(next - clock.Now() - absl::Milliseconds(0.5));
    }
    // The live one's next pass goes before any of the offline one's that is ready.
    if (story(2).block_at.size() < 49 && !device->running().empty() && device->running()[0].session == SessionId{2}) {
      EXPECT_EQ(device->depth(0), 1u);
    }
  }
}

TEST_F(LanesTest, ABlocksDecodesAreContiguousWhereDecoderMemoryIsScarce) {
  for (const int places : {0, 1, 2}) {
    std::vector<LaneInfo> lanes = OverlappingLanes();
    lanes[1].decoder_places = places;
    Make({.places = 4, .max_batch_passes = 1}, lanes);
    device->cost[PassKind::kDecode] = absl::Milliseconds(120);
    std::set<uint64_t> inside;  // in the middle of a block
    size_t most = 0;
    const auto deliver = listener.on_pass;
    listener.on_pass = [&](uint64_t id, const PassReport& report) {
      if (report.kind == PassKind::kDecode) {
        inside.insert(id);
        most = std::max(most, inside.size());
        if (report.step == report.steps) inside.erase(id);
      }
      deliver(id, report);
    };
    MakeAll(4, std::vector<int>(6, 4));
    if (places == 0) {
      EXPECT_GT(most, 2u) << "they take turns";
    } else {
      EXPECT_EQ(most, static_cast<size_t>(places));
    }
  }
}

}  // namespace
}  // namespace longtake::scheduler
