// Who is let in, who waits, who is refused, and what they are told.
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "scheduler/slack_policy.h"
#include "scheduler/tuning.h"
#include "tests/scheduler/fixture.h"

namespace longtake::scheduler {
namespace {

// A block of a second takes 100 ms a step + 120 ms.
class AdmissionTest : public SchedulerFixture {
 protected:
  // Streams of 0.42 each: two fit under this limit.
  void MakeForTwo(Options options = {}) {
    options.max_live_load = 0.9;
    options.lead_high = absl::Seconds(3);
    options.lead_low = absl::Seconds(2);
    options.max_lead = absl::Seconds(6);
    if (options.places == 1) options.places = 12;
    Make(options);
    Learn();
  }
};

TEST_F(AdmissionTest, APausedViewerMakesRoom) {
  MakeForTwo();
  ASSERT_TRUE(Enter(Live(1, 60, 3)).ok());
  RunFor(absl::Seconds(3));
  ASSERT_TRUE(Enter(Live(2, 60, 3)).ok());
  RunFor(absl::Seconds(10));
  ASSERT_TRUE(Enter(Live(3, 20, 3)).ok());
  RunFor(absl::Seconds(1));
  ASSERT_FALSE(story(3).admitted) << "0.84 and 0.42";
  Consumed(1, absl::Seconds(10), /*paused=*/true);
  EXPECT_TRUE(story(3).admitted);
  EXPECT_EQ(scheduler->stats().asleep, 1);
  // Back again, it has to wait for room: the others have been promised theirs.
  RunFor(absl::Seconds(5));
  Consumed(1, absl::Seconds(10), /*paused=*/false);
  RunFor(absl::Seconds(40));
  EXPECT_LE(WorstStall(2), absl::ZeroDuration());
  EXPECT_LE(WorstStall(3), absl::ZeroDuration());
  RunFor(absl::Seconds(60));
  EXPECT_TRUE(EndedWell(1));
  EXPECT_TRUE(EndedWell(2));
}

TEST_F(AdmissionTest, ClientsThatReadNothingHoldUpNobody) {
  MakeForTwo({.places = 12, .max_waiting = 12, .max_unread = absl::Minutes(2)});
  for (uint64_t id = 1; id <= 10; ++id) {
    silent.insert(id);
    ASSERT_TRUE(Enter(Live(id, 60, 3)).ok());
  }
  RunFor(absl::Seconds(60));
  for (uint64_t id = 1; id <= 10; ++id) EXPECT_EQ(story(id).block_at.size(), 2u) << id;
  EXPECT_EQ(scheduler->stats().asleep, 10);
  EXPECT_EQ(scheduler->stats().live_load, 0);
  const absl::Duration arrived = clock.Now();
  ASSERT_TRUE(Enter(Live(11, 20, 3)).ok());
  EXPECT_TRUE(story(11).admitted);
  RunFor(absl::Seconds(2));
  ASSERT_FALSE(story(11).block_at.empty());
  EXPECT_LE(story(11).block_at[0] - arrived, absl::Milliseconds(620)) << "as alone";
}

// 1 reads one block after its sleep, and nothing more. There is no room to wake it, but its next block is made where
// the others rest.
TEST_F(AdmissionTest, OneThatParksAgainBeforeItIsAwakeSleepsAgain) {
  MakeForTwo();
  silent.insert(1);
  ASSERT_TRUE(Enter(Live(1, 60, 3)).ok());
  RunFor(absl::Seconds(5));
  ASSERT_EQ(scheduler->stats().asleep, 1);
  for (const uint64_t id : {2, 3}) ASSERT_TRUE(Enter(Live(id, 60, 3)).ok());
  RunFor(absl::Seconds(3));
  ASSERT_TRUE(story(2).admitted && story(3).admitted);
  Deliver(1, 0, 1);
  ASSERT_EQ(scheduler->stats().asleep, 0);
  for (int i = 0; i < 600 && story(1).block_at.size() < 3; ++i) RunFor(absl::Milliseconds(100));
  ASSERT_EQ(story(1).block_at.size(), 3u);
  for (const uint64_t id : {2, 3}) Cancel(id);
  RunFor(absl::Seconds(5));
  EXPECT_EQ(scheduler->stats().asleep, 1);
  EXPECT_EQ(scheduler->stats().live_load, 0) << "nobody would be let in for it";
}

// Six wait for the end of two that would take a minute, and these leave. Two of the six can start then, and no more:
// whoever starts earlier than predicted needs the device earlier.
TEST_F(AdmissionTest, RoomThatComesEarlyIsGivenOnce) {
  MakeForTwo({.places = 12, .max_waiting = 8});
  for (uint64_t id = 1; id <= 8; ++id) ASSERT_TRUE(Enter(Live(id, 60, 3)).ok());
  RunFor(absl::Seconds(5));
  ASSERT_EQ(scheduler->stats().live_waiting, 6);
  Cancel(1);
  Cancel(2);
  for (int second = 0; second < 20; ++second) {
    RunFor(absl::Seconds(1));
    EXPECT_LE(scheduler->stats().live_load, 0.9) << second;
  }
  EXPECT_TRUE(story(3).admitted && story(4).admitted);
  RunFor(absl::Seconds(300));
  for (uint64_t id = 3; id <= 8; ++id) {
    EXPECT_TRUE(EndedWell(id)) << id;
    EXPECT_LE(WorstStall(id), absl::ZeroDuration()) << id;
  }
}

// 1 needs 0.62 of the device for half a minute, 2 as much and so has to wait; 3 needs 0.22 for a few seconds.
TEST_F(AdmissionTest, AShortRequestPassesALongOneWithoutMovingItsStart) {
  MakeForTwo();
  ASSERT_TRUE(Enter(Live(1, 30, 5)).ok());
  ASSERT_TRUE(Enter(Live(4, 20, 1)).ok());
  RunFor(absl::Seconds(2));
  const Quote told = Enter(Live(2, 30, 5));
  const absl::Duration start = clock.Now() + told.start;
  ASSERT_TRUE(told.ok());
  ASSERT_FALSE(scheduler->GetQuote(Live(3, 4, 1)).start == absl::ZeroDuration())
      << "2 would start later than it was told";
  Cancel(4);  // now it could start earlier
  RunFor(absl::Seconds(1));
  ASSERT_FALSE(story(2).admitted) << "but not yet";
  const Quote quote = Enter(Live(3, 4, 1));
  ASSERT_TRUE(quote.ok());
  EXPECT_EQ(quote.start, absl::ZeroDuration());
  EXPECT_TRUE(story(3).admitted) << "it passes the other";
  RunFor(quote.first_chunk);
  EXPECT_FALSE(story(3).block_at.empty()) << "as promised";
  RunFor(absl::Seconds(60));
  ASSERT_TRUE(story(2).admitted);
  EXPECT_LE(story(2).admitted_at, start);
  for (uint64_t id : {1, 2, 3}) EXPECT_LE(WorstStall(id), absl::ZeroDuration()) << id;
}

// Between two turns of the loop some leave, passes are done, and one comes. What it is told holds whatever comes behind
// it, and what became free is not given to another that has waited for longer.
TEST_F(AdmissionTest, WhoeverIsToldToStartAtOnceDoes) {
  int at_once = 0;
  for (uint32_t seed = 0; seed < 150; ++seed) {
    std::mt19937 random(seed);
    const auto any = [&random](int least, int most) { return std::uniform_int_distribution<int>(least, most)(random); };
    MakeForTwo({.places = 12, .max_waiting = 8});
    for (uint64_t id = 1; id <= 40; ++id) {
      RunFor(absl::Milliseconds(any(0, 1500)));
      if (any(0, 3) == 0) scheduler->Cancel(SessionId{static_cast<uint64_t>(any(1, 40))}, absl::CancelledError("gone"));
      requests[id] = Live(id, any(2, 30), any(1, 5));
      Quote quote;
      scheduler->Enter(requests[id], [&](const Quote& told) { quote = told; });
      if (any(0, 1) == 0) device->FinishPass();
      loop.RunReady();
      if (!quote.ok() || quote.start > absl::ZeroDuration()) continue;
      ++at_once;
      EXPECT_TRUE(story(id).admitted) << "seed " << seed << ", " << id;
    }
    scheduler->CancelAll(absl::CancelledError("end"));
    loop.RunReady();
    RunAll();
    listener.story.clear();
  }
  EXPECT_GT(at_once, 200);
}

TEST_F(AdmissionTest, ALongRequestDoesNotPass) {
  MakeForTwo();
  ASSERT_TRUE(Enter(Live(1, 30, 5)).ok());
  RunFor(absl::Seconds(2));
  ASSERT_TRUE(Enter(Live(2, 30, 5)).ok());
  RunFor(absl::Seconds(1));
  const Quote quote = Enter(Live(3, 60, 1));
  ASSERT_TRUE(quote.ok());
  EXPECT_FALSE(story(3).admitted) << "0.22 would fit now, and would keep the other out later";
  EXPECT_GT(quote.start, absl::Seconds(1));
}

TEST_F(AdmissionTest, RefusalsSayWhyAndWhen) {
  MakeForTwo({.max_waiting = 1, .max_tenant_live = 3});
  Request request = Live(1, 60, 5);
  request.tenant = "a";
  ASSERT_TRUE(Enter(request).ok());
  RunFor(absl::Seconds(2));
  request.id = SessionId{2};
  request.max_wait = absl::Seconds(5);
  Quote quote = Enter(request);
  EXPECT_EQ(quote.refusal, Refusal::kOwnMaxWait);
  EXPECT_GT(quote.start, absl::Seconds(5));
  EXPECT_EQ(quote.retry_after, quote.start - absl::Seconds(5));

  request.max_wait = absl::InfiniteDuration();
  request.deadline = absl::Seconds(70);
  quote = Enter(request);
  EXPECT_EQ(quote.refusal, Refusal::kDeadline) << "it is quoted some two minutes";
  EXPECT_GT(quote.last_chunk, absl::Seconds(70));
  EXPECT_EQ(quote.retry_after, quote.last_chunk - absl::Seconds(70));
  request.deadline = quote.last_chunk + absl::Seconds(1);
  ASSERT_TRUE(Enter(request).ok());

  request.id = SessionId{3};
  request.deadline = absl::InfiniteDuration();
  quote = Enter(request);
  EXPECT_EQ(quote.refusal, Refusal::kQueueFull);
  EXPECT_GE(quote.retry_after, absl::Seconds(1));
  EXPECT_LE(quote.retry_after, tuning::kRetryMost);
  EXPECT_EQ(quote.waiting, 1);
  request.accepted_before = true;
  EXPECT_TRUE(Enter(request).ok()) << "a promise is a promise";
  for (const Refusal refusal : {Refusal::kQueueFull, Refusal::kOwnMaxWait, Refusal::kDeadline}) {
    EXPECT_STRNE(Name(refusal), "unknown");
  }
}

TEST_F(AdmissionTest, ATenantHasOnlySoManyLiveRequests) {
  MakeForTwo({.max_tenant_live = 2});
  Request request = Live(1, 5);
  request.tenant = "a";
  ASSERT_TRUE(Enter(request).ok());
  request.id = SessionId{2};
  ASSERT_TRUE(Enter(request).ok());
  request.id = SessionId{3};
  EXPECT_EQ(Enter(request).refusal, Refusal::kTenantLimit);
  request.delivery = Delivery::kOffline;
  EXPECT_TRUE(Enter(request).ok());
  request = Live(4, 5);
  request.tenant = "b";
  EXPECT_TRUE(Enter(request).ok());
  RunFor(absl::Seconds(10));
  request.id = SessionId{5};
  request.tenant = "a";
  EXPECT_TRUE(Enter(request).ok()) << "the others have ended";
}

TEST_F(AdmissionTest, OfflineRequestsAreRefusedWhereNoPlaceCanBeTheirs) {
  Make({.places = 2, .live_places = 2});
  const Quote quote = Enter(Offline(1, 1));
  EXPECT_EQ(quote.refusal, Refusal::kNoOffline);
  EXPECT_EQ(quote.status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(quote.retry_after, absl::InfiniteDuration());
}

// Neither the server's own limit nor the request's depends on anything being predicted.
TEST_F(AdmissionTest, WhoHasWaitedTooLongIsEndedToTheInstant) {
  Make({.places = 1, .max_wait = absl::Seconds(10)});
  silent = {1};
  ASSERT_TRUE(Enter(Live(1, 60)).ok());
  ASSERT_TRUE(Enter(Live(2, 1)).ok()) << "nothing is known of costs";
  Request request = Live(3, 1);
  request.max_wait = absl::Seconds(4);
  ASSERT_TRUE(Enter(request).ok());
  request.id = SessionId{4};
  request.accepted_before = true;
  ASSERT_TRUE(Enter(request).ok());
  RunFor(absl::Seconds(4) - absl::Nanoseconds(1));
  EXPECT_FALSE(story(3).ended);
  RunFor(absl::Nanoseconds(1));
  EXPECT_EQ(story(3).status.code(), absl::StatusCode::kDeadlineExceeded);
  RunFor(absl::Seconds(6) - absl::Nanoseconds(1));
  EXPECT_FALSE(story(2).ended);
  RunFor(absl::Nanoseconds(1));
  EXPECT_EQ(story(2).status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_FALSE(story(4).ended) << "one that goes on waits as long as it takes";
}

// Whoever is told "first chunk in so many seconds" is kept to that though requests enter at the same moment, and though
// sessions end between one's question and the next one's.
TEST_F(AdmissionTest, WhatIsToldIsWhatIsKept) {
  MakeForTwo({.max_waiting = 20});
  std::map<uint64_t, absl::Duration> promised;
  for (uint64_t id = 1; id <= 12; ++id) {
    const Quote quote = Enter(Live(id, 6, 3));
    ASSERT_TRUE(quote.ok());
    promised[id] = clock.Now() + quote.first_chunk;
  }
  RunFor(absl::Minutes(3));
  for (const auto& [id, by] : promised) {
    ASSERT_TRUE(EndedWell(id)) << id;
    EXPECT_LE(story(id).latent_at[0], by) << id;
    EXPECT_LE(WorstStall(id), absl::ZeroDuration()) << id;
  }
  EXPECT_EQ(scheduler->stats().quotes, 12u);
  EXPECT_EQ(scheduler->stats().quotes_kept, 12u);
}

// What the policy is offered.
class Spy : public SlackPolicy {
 public:
  std::vector<size_t> Compose(const Situation& situation, const std::vector<Candidate>& candidates) override {
    last = candidates;
    return SlackPolicy::Compose(situation, candidates);
  }
  std::vector<Candidate> last;
};

TEST_F(AdmissionTest, AFirstChunkOnItsWayIsNoFirstChunkAnyMore) {
  const auto spy = std::make_shared<Spy>();
  Make({.places = 1, .policy = spy});
  silent = {1};
  ASSERT_TRUE(Enter(Live(1, 5)).ok());
  EXPECT_FALSE(spy->last.at(0).started);
  while (story(1).block_at.empty()) device->FinishBatch();
  const absl::Duration decoded = story(1).block_at[0];
  ASSERT_EQ(device->running().at(0).kind, PassKind::kDenoise);
  EXPECT_TRUE(spy->last.at(0).started);
  EXPECT_EQ(spy->last.at(0).due, absl::ToDoubleSeconds(decoded + absl::Seconds(1)));
}

TEST_F(AdmissionTest, ASlowDeliveryIsForgotten) {
  const auto spy = std::make_shared<Spy>();
  Make({.places = 1, .max_undelivered_blocks = 1, .policy = spy});
  silent = {1};
  ASSERT_TRUE(Enter(Live(1, 60)).ok());
  // How much earlier than it is played the next chunk is due, after one was delivered so late.
  const auto earlier = [&](size_t block, absl::Duration late) {
    RunAll();
    EXPECT_EQ(story(1).block_at.size(), block + 1);
    RunFor(late);
    Deliver(1, static_cast<int>(block), 1);
    return absl::ToDoubleSeconds(story(1).block_at[0]) + static_cast<double>(block + 1) - spy->last.at(0).due;
  };
  for (int block = 0; block < 3; ++block) EXPECT_NEAR(earlier(block, absl::ZeroDuration()), 0, 1e-6);
  EXPECT_NEAR(earlier(3, absl::Milliseconds(600)), 0.6, 1e-6);
  for (int block = 4; block < 19; ++block) EXPECT_NEAR(earlier(block, absl::ZeroDuration()), 0.6, 1e-6) << block;
  EXPECT_NEAR(earlier(19, absl::ZeroDuration()), 0, 1e-6);
}

TEST_F(AdmissionTest, ATinyLeadLimitDoesNotMakeAStreamStall) {
  Make({.places = 2});
  Learn();
  Request request = Live(1, 30);
  request.max_lead = absl::Nanoseconds(1);
  ASSERT_TRUE(Enter(request).ok());
  ASSERT_TRUE(Enter(Offline(2, 1000)).ok());
  RunFor(absl::Seconds(40));
  EXPECT_TRUE(EndedWell(1));
  EXPECT_LE(WorstStall(1), absl::ZeroDuration());
}

// The picture starts when the first latent frame is there, and what follows is due while it plays.
TEST_F(AdmissionTest, ChunksWithinABlockAreDueOneAfterTheOther) {
  const auto spy = std::make_shared<Spy>();
  Make({.places = 1, .policy = spy});
  Learn();
  Request request = Video(1, {4, 4});
  request.first_latent_seconds = 0.25;
  request.latent_seconds = 1;
  Request whole = request;
  whole.chunk_latents = 0;
  EXPECT_LT(scheduler->GetQuote(request).first_chunk, scheduler->GetQuote(whole).first_chunk);
  ASSERT_TRUE(Enter(request).ok());
  std::vector<double> due;
  while (story(1).latent_at.size() < 4) {
    device->FinishBatch();
    if (!device->running().empty() && device->running()[0].kind == PassKind::kDecode) due.push_back(spy->last[0].due);
  }
  const double start = absl::ToDoubleSeconds(story(1).latent_at[0]);
  ASSERT_EQ(due.size(), 4u);
  for (int latent = 1; latent < 4; ++latent) EXPECT_NEAR(due[latent], start + 0.25 + (latent - 1), 1e-6) << latent;
  EXPECT_NEAR(spy->last[0].due, start + 3.25, 1e-6) << "the next block's first";
}

TEST_F(AdmissionTest, OfflineSessionsGiveTheirPlaceToLiveOnesAndGetItBack) {
  Make({.places = 2, .max_live_load = 0.9});
  device->suspends = true;
  Learn();
  device->log.clear();
  ASSERT_TRUE(Enter(Offline(1, 20)).ok());
  ASSERT_TRUE(Enter(Offline(2, 20)).ok());
  RunFor(absl::Seconds(1));
  const absl::Duration arrived = clock.Now();
  const Quote quote = Enter(Live(3, 3));
  ASSERT_TRUE(quote.ok());
  RunFor(absl::Seconds(3));
  ASSERT_FALSE(story(3).block_at.empty());
  EXPECT_LE(story(3).block_at[0] - arrived, quote.first_chunk);
  EXPECT_THAT(device->log, testing::Contains("suspend 2")) << "the one that began last";
  EXPECT_THAT(device->log, testing::Not(testing::Contains("suspend 1")));
  RunFor(absl::Seconds(30));
  EXPECT_THAT(device->log, testing::Contains("resume 2"));
  for (uint64_t id : {1, 2, 3}) EXPECT_TRUE(EndedWell(id)) << id;
  EXPECT_EQ(story(2).block_at.size(), 20u);
}

TEST_F(AdmissionTest, ASessionWhosePlaceIsWantedFinishesItsBlockFirst) {
  Make({.places = 2, .max_live_load = 0.9});
  device->suspends = true;
  Learn();
  ASSERT_TRUE(Enter(Offline(1, 20)).ok());
  ASSERT_TRUE(Enter(Offline(2, 20)).ok());
  // Until the second one is in the middle of a block.
  const auto is_of_2 = [&] { return device->log.back() == "denoise 2"; };
  for (int i = 0; i < 1000 && !is_of_2(); ++i) RunFor(absl::Milliseconds(10));
  ASSERT_TRUE(is_of_2());
  const size_t before = device->log.size();
  ASSERT_TRUE(Enter(Live(3, 3)).ok());
  RunFor(absl::Seconds(3));
  const auto suspended = std::find(device->log.begin(), device->log.end(), "suspend 2");
  ASSERT_TRUE(suspended != device->log.end());
  // One pass of the other session may have been under way or submitted.
  const auto of_1 = [](const std::string& line) { return line.back() == '1'; };
  EXPECT_LE(std::count_if(device->log.begin() + static_cast<std::ptrdiff_t>(before), suspended, of_1), 1);
}

TEST_F(AdmissionTest, ASessionThatCannotBeSuspendedIsAskedOnceAndGoesOn) {
  Make({.places = 1, .max_live_load = 0.9});
  device->suspends = true;
  device->suspend_error = absl::ResourceExhaustedError("no host memory");
  Learn();
  device->log.clear();
  ASSERT_TRUE(Enter(Offline(1, 20)).ok());
  RunFor(absl::Seconds(1));
  ASSERT_TRUE(Enter(Live(2, 3)).ok());
  RunFor(absl::Seconds(60));
  EXPECT_EQ(std::count(device->log.begin(), device->log.end(), "suspend 1"), 1);
  EXPECT_TRUE(EndedWell(1));
  EXPECT_TRUE(EndedWell(2));
}

TEST_F(AdmissionTest, ASuspendedSessionCanBeCancelled) {
  Make({.places = 1, .max_live_load = 0.9});
  device->suspends = true;
  Learn();
  ASSERT_TRUE(Enter(Offline(1, 20)).ok());
  RunFor(absl::Seconds(1));
  ASSERT_TRUE(Enter(Live(2, 30)).ok());
  RunFor(absl::Seconds(2));
  ASSERT_EQ(device->suspended.size(), 1u);
  EXPECT_EQ(scheduler->stats().suspended, 1);
  Cancel(1);
  EXPECT_TRUE(story(1).ended);
  EXPECT_TRUE(device->suspended.empty());
}

}  // namespace
}  // namespace longtake::scheduler
