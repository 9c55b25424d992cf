// Quotes, waits and refusals over real gRPC.
#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/fake_clock.h"
#include "tests/server/server_fixture.h"

namespace longtake::server {
namespace {

using testing::HasSubstr;

class Admission : public ServerFixture {
 protected:
  grpc::Status Quote(const v1::GenerateVideoRequest& request, v1::QuoteVideoResponse& response) {
    grpc::ClientContext context;
    v1::QuoteVideoRequest quoted;
    *quoted.mutable_spec() = request.spec();
    *quoted.mutable_delivery_options() = request.delivery_options();
    return stub->QuoteVideo(&context, quoted, &response);
  }
  // On a clock that only passes move, so that their times are those of `engine_options` on any machine.
  void StartOnClock(FakeEngineOptions engine_options, ServerOptions options = {}) {
    // From a pass that takes no time nothing is learned.
    for (absl::Duration* time : {&engine_options.denoise, &engine_options.commit, &engine_options.decode}) {
      *time = std::max(*time, absl::Milliseconds(1));
    }
    engine_options.clock = &clock;
    options.clock = &clock;
    StartAndServe(std::move(engine_options), std::move(options));
  }
  // Videos one after the other until the server can promise.
  void Learn() { ASSERT_TRUE(Generate(Request(1, 99)).status.ok()); }
  // A request that waits for the only place, which another video has, ends after `limit` and no sooner.
  void WaitInVain(const v1::GenerateVideoRequest& request, absl::Duration limit) {
    // Before anything is learned nothing is predicted, so the request is accepted.
    StartOnClock({.max_sessions = 1, .delay = HoldBefore(PassKind::kEncodePrompt, 1, "the request's end")});
    std::thread running([&] { Generate(Request(1, 1)); });
    Await([&] { return engine->open_sessions() == 1; }, "the video");
    int waits = 0;
    const Watched waited = Generate(request, [&](const v1::WatchVideoResponse& event, grpc::ClientContext&) {
      if (!event.has_waiting()) return;
      ++waits;
      EXPECT_EQ(event.waiting().position(), 1);
      clock.Advance(limit - absl::Milliseconds(1));
      // Each reading has the scheduler look at its clock, and the second shows what the first has brought about.
      server->MetricsText();
      EXPECT_THAT(server->MetricsText(), HasSubstr("longtake_queue_length{delivery=\"live\"} 1\n"));
      clock.Advance(absl::Milliseconds(2));
    });
    go_on = true;
    running.join();
    EXPECT_EQ(waits, 1);
    EXPECT_EQ(waited.events.size(), 3u);
    EXPECT_EQ(waited.status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
    EXPECT_EQ(ReasonOf(waited.status), "WAITED_TOO_LONG");
  }

  FakeClock clock;
};

TEST_F(Admission, AQuoteIsGivenBeforehandAndKept) {
  StartOnClock({.text = absl::Milliseconds(5), .denoise = absl::Milliseconds(20), .decode = absl::Milliseconds(5)});
  v1::GenerateVideoRequest request = Request(3);
  request.mutable_spec()->clear_prompt();
  v1::QuoteVideoResponse response;
  ASSERT_TRUE(Quote(request, response).ok());
  EXPECT_FALSE(response.has_refusal());
  EXPECT_FALSE(response.quote().has_first_chunk_delay()) << "nothing is known of pass times yet";
  EXPECT_EQ(response.quote().commitment(), v1::Quote::COMMITMENT_UNSPECIFIED);
  Learn();
  ASSERT_TRUE(Quote(request, response).ok());
  EXPECT_FALSE(response.has_refusal());
  const v1::Quote& quote = response.quote();
  EXPECT_EQ(quote.commitment(), v1::Quote::COMMITMENT_PROMISE);
  EXPECT_EQ(quote.queue_length(), 0);
  EXPECT_GT(quote.kept_ratio(), 0);
  EXPECT_LE(quote.kept_ratio(), 1);
  // A block is 3 x 20 ms and 3 x 5 ms.
  EXPECT_GT(Seconds(quote.first_chunk_delay()), 0.06);
  EXPECT_GT(Seconds(quote.last_chunk_delay()), Seconds(quote.first_chunk_delay()));

  const Watched video = Generate(Request(3));
  ASSERT_TRUE(video.status.ok());
  const double promised = Seconds(video.accepted().quote().first_chunk_delay());
  EXPECT_NEAR(promised, Seconds(quote.first_chunk_delay()), 0.5 * Seconds(quote.first_chunk_delay()));
  EXPECT_LE(Seconds(video.chunks().front()->report().decode_offset()), promised);

  request.mutable_delivery_options()->set_delivery(v1::DELIVERY_OFFLINE);
  ASSERT_TRUE(Quote(request, response).ok());
  EXPECT_EQ(response.quote().commitment(), v1::Quote::COMMITMENT_ESTIMATE);
}

TEST_F(Admission, AQuoteNamesFieldsAtFaultAndWantsNoPrompt) {
  StartAndServe();
  v1::GenerateVideoRequest request;
  *request.mutable_spec()->mutable_duration() = ToProto(1000);
  v1::QuoteVideoResponse response;
  const grpc::Status status = Quote(request, response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("spec.duration: 1000"));
  EXPECT_THAT(status.error_message(), testing::Not(HasSubstr("prompt")));
}

TEST_F(Admission, AQuoteOfAFullQueueIsAnAnswer) {
  StartOnClock({.max_sessions = 1,
                .denoise = absl::Milliseconds(30),
                .delay = HoldBefore(PassKind::kEncodePrompt, 2, "the quote")},
               {.studio = {.max_waiting = 0}});
  Learn();
  std::thread running([&] { Generate(Request(3, 1)); });
  Await([&] { return engine->open_sessions() == 1; }, "the video");
  v1::QuoteVideoResponse response;
  EXPECT_TRUE(Quote(Request(1), response).ok());
  EXPECT_EQ(response.refusal().reason(), v1::ERROR_REASON_QUEUE_FULL);
  EXPECT_GE(Seconds(response.refusal().retry_delay()), 1);
  go_on = true;
  running.join();
}

// A call's deadline is for the whole video: work that could not be in time is not begun.
TEST_F(Admission, ADeadlineBeforeThePromisedLastChunkIsRefused) {
  // Ten seconds take two minutes; the deadline is so far that it is not over before the answer.
  StartOnClock({.denoise = absl::Seconds(2)});
  Learn();
  const size_t passes = engine->ran().size();
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::minutes(1));
  auto reader = stub->GenerateVideo(&context, Request(10));
  v1::WatchVideoResponse event;
  EXPECT_FALSE(reader->Read(&event));
  const grpc::Status status = reader->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_EQ(ReasonOf(status), "DEADLINE_TOO_SHORT");
  EXPECT_EQ(engine->ran().size(), passes);
}

TEST_F(Admission, ALongerWaitThanTheRequestPermitsIsRefused) {
  StartOnClock({.max_sessions = 1,
                .denoise = absl::Milliseconds(50),
                .delay = HoldBefore(PassKind::kEncodePrompt, 2, "the refusal")});
  Learn();
  std::thread running([&] { Generate(Request(8, 1)); });
  Await([&] { return engine->open_sessions() == 1; }, "the video");
  v1::GenerateVideoRequest request = Request(1, 2);
  *request.mutable_delivery_options()->mutable_max_wait_duration() = ToProto(0.5);
  const Watched refused = Generate(request);
  go_on = true;
  running.join();
  EXPECT_EQ(refused.status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(refused.status.error_message(), HasSubstr("max_wait_duration"));
  EXPECT_TRUE(refused.events.empty());
  EXPECT_EQ(ReasonOf(refused.status), "WAIT_TOO_LONG");
  const double start =
      std::stod(DetailOf<google::rpc::ErrorInfo>(refused.status)->metadata().at("start_delay_seconds"));
  EXPECT_GT(start, 0.5);
  EXPECT_NEAR(Seconds(DetailOf<google::rpc::RetryInfo>(refused.status)->retry_delay()), std::max(1.0, start - 0.5),
              0.01);
  EXPECT_THAT(server->MetricsText(), HasSubstr("longtake_refusals_total{reason=\"wait_too_long\"} 1"));
}

TEST_F(Admission, ARequestThatHasWaitedTooLongEnds) {
  v1::GenerateVideoRequest request = Request(1, 2);
  *request.mutable_delivery_options()->mutable_max_wait_duration() = ToProto(0.25);
  WaitInVain(request, absl::Milliseconds(250));
}

TEST_F(Admission, TheServersOwnLimitOnWaitingHolds) {
  max_wait = absl::Milliseconds(300);
  WaitInVain(Request(1, 2), absl::Milliseconds(300));
}

TEST_F(Admission, LiveVideosBeyondTheLoadWait) {
  // A second of video takes 8 passes of 50 ms, 40 % of the device: two fit into 95 %.
  StartAndServe({.max_sessions = 8, .denoise = absl::Milliseconds(50), .commit = absl::Milliseconds(50)});
  Learn();
  std::vector<std::thread> viewers;
  std::array<grpc::ClientContext, 4> contexts;
  for (int i = 0; i < 4; ++i) {
    viewers.emplace_back([&, i] {
      auto reader = stub->GenerateVideo(&contexts[i], Request(8, i));
      v1::WatchVideoResponse event;
      while (reader->Read(&event)) {
      }
      reader->Finish();
    });
  }
  int most = 0;
  for (int i = 0; i < 100; ++i) {
    most = std::max(most, engine->open_sessions());
    absl::SleepFor(absl::Milliseconds(20));
  }
  EXPECT_GE(most, 1);
  EXPECT_LE(most, 3) << "of 8 places: the load is what limits";
  for (grpc::ClientContext& context : contexts) context.TryCancel();
  for (std::thread& viewer : viewers) viewer.join();
}

// Two places and two that wait: of forty that come at once all others are refused. How soon is measured by
// scripts/bench.sh live. The deadline is far, so that no quote of a busy machine reaches it.
TEST_F(Admission, WhatIsBeyondTheQueueIsRefused) {
  // No video ends before all have come.
  std::atomic<int> refused = 0;
  StartOnClock({.max_sessions = 2,
                .denoise = absl::Milliseconds(20),
                .delay = HoldBefore(
                    PassKind::kEncodePrompt, 2, [&] { return refused >= 36; }, "the refusals")},
               {.studio = {.max_waiting = 2}});
  Learn();
  std::vector<std::thread> viewers;
  for (int i = 0; i < 40; ++i) {
    viewers.emplace_back([&, i] {
      grpc::ClientContext context;
      context.set_deadline(std::chrono::system_clock::now() + std::chrono::minutes(5));
      auto reader = stub->GenerateVideo(&context, Request(2, i));
      v1::WatchVideoResponse event;
      while (reader->Read(&event)) {
      }
      if (reader->Finish().error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED) ++refused;
    });
  }
  for (std::thread& viewer : viewers) viewer.join();
  EXPECT_GE(refused, 36);
  Await([&] { return engine->open_sessions() == 0; }, "the last slot");
}

}  // namespace
}  // namespace longtake::server
