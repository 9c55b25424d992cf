// Quotes, waits and refusals over real gRPC.
#include <chrono>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "gtest/gtest.h"
#include "tests/server/server_fixture.h"

namespace longtake::server {
namespace {

using testing::HasSubstr;

class Admission : public ServerFixture {
 protected:
  grpc::Status Quote(const v1::GenerateRequest& request, v1::Quote& quote) {
    grpc::ClientContext context;
    return stub->Quote(&context, request, &quote);
  }
  // Videos one after the other until the server can promise.
  void Learn() { ASSERT_TRUE(Generate(Request(1, 99)).status.ok()); }
};

TEST_F(Admission, AQuoteIsGivenBeforehandAndKept) {
  StartAndServe({.text = absl::Milliseconds(5), .denoise = absl::Milliseconds(20), .decode = absl::Milliseconds(5)});
  v1::GenerateRequest request = Request(3);
  request.clear_prompt();
  v1::Quote quote;
  ASSERT_TRUE(Quote(request, quote).ok());
  EXPECT_TRUE(quote.admitted());
  EXPECT_FALSE(quote.has_first_chunk_seconds()) << "nothing is known of pass times yet";
  Learn();
  ASSERT_TRUE(Quote(request, quote).ok());
  EXPECT_TRUE(quote.admitted());
  EXPECT_EQ(quote.queue_length(), 0);
  EXPECT_GT(quote.confidence(), 0);
  EXPECT_LE(quote.confidence(), 1);
  // A block is 3 x 20 ms and 3 x 5 ms.
  EXPECT_GT(quote.first_chunk_seconds(), 0.06);
  EXPECT_GT(quote.last_chunk_seconds(), quote.first_chunk_seconds());

  const Video video = Generate(Request(3));
  ASSERT_TRUE(video.status.ok());
  const v1::Quote& promised = video.accepted().quote();
  EXPECT_NEAR(promised.first_chunk_seconds(), quote.first_chunk_seconds(), 0.5 * quote.first_chunk_seconds());
  EXPECT_LE(video.chunks().front()->times().decoded(), promised.first_chunk_seconds());
}

TEST_F(Admission, AQuoteNamesFieldsAtFaultAndWantsNoPrompt) {
  StartAndServe();
  v1::GenerateRequest request;
  request.set_seconds(1000);
  v1::Quote quote;
  const grpc::Status status = Quote(request, quote);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("seconds: 1000"));
  EXPECT_THAT(status.error_message(), testing::Not(HasSubstr("prompt")));
}

TEST_F(Admission, AQuoteOfAFullQueueIsAnAnswer) {
  StartAndServe({.max_sessions = 1, .denoise = absl::Milliseconds(30)}, {.studio = {.max_waiting = 0}});
  Learn();
  std::thread running([&] { Generate(Request(3, 1)); });
  Await([&] { return engine->open_sessions() == 1; }, "the video");
  v1::Quote quote;
  ASSERT_TRUE(Quote(Request(1), quote).ok());
  EXPECT_FALSE(quote.admitted());
  EXPECT_GE(quote.retry_after_seconds(), 1);
  running.join();
}

TEST_F(Admission, ALongerWaitThanTheRequestPermitsIsRefused) {
  StartAndServe({.max_sessions = 1, .denoise = absl::Milliseconds(50)});
  Learn();
  std::thread running([&] { Generate(Request(8, 1)); });
  Await([&] { return engine->open_sessions() == 1; }, "the video");
  v1::GenerateRequest request = Request(1, 2);
  request.set_max_wait_seconds(0.5);
  const Video refused = Generate(request);
  EXPECT_EQ(refused.status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(refused.status.error_message(), HasSubstr("max_wait_seconds"));
  EXPECT_TRUE(refused.events.empty());
  google::rpc::Status details;
  google::rpc::RetryInfo retry;
  v1::Refusal refusal;
  ASSERT_TRUE(details.ParseFromString(refused.status.error_details()));
  ASSERT_TRUE(details.details(1).UnpackTo(&retry));
  ASSERT_TRUE(details.details(2).UnpackTo(&refusal));
  EXPECT_EQ(refusal.reason(), v1::Refusal::REASON_LONG_WAIT);
  EXPECT_GT(refusal.quote().start_seconds(), 0.5);
  EXPECT_NEAR(static_cast<double>(retry.retry_delay().seconds()) + retry.retry_delay().nanos() * 1e-9,
              refusal.quote().start_seconds() - 0.5, 0.01);
  EXPECT_THAT(server->MetricsText(), HasSubstr("longtake_refusals_total{reason=\"long_wait\"} 1"));
  running.join();
}

TEST_F(Admission, ARequestThatHasWaitedTooLongEnds) {
  // Before anything is learned nothing is predicted, so the request is accepted.
  StartAndServe({.max_sessions = 1, .denoise = absl::Milliseconds(100)});
  std::thread running([&] { Generate(Request(4, 1)); });
  Await([&] { return engine->open_sessions() == 1; }, "the video");
  v1::GenerateRequest request = Request(1, 2);
  request.set_max_wait_seconds(0.3);
  const absl::Time began = absl::Now();
  const Video waited = Generate(request);
  EXPECT_EQ(waited.status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_THAT(waited.status.error_message(), HasSubstr("max_wait_seconds"));
  EXPECT_GE(absl::Now() - began, absl::Milliseconds(300));
  EXPECT_LT(absl::Now() - began, absl::Milliseconds(900));
  ASSERT_EQ(waited.events.size(), 2u);
  EXPECT_EQ(waited.events[1].waiting().position(), 1);
  running.join();
}

TEST_F(Admission, LiveVideosBeyondTheLoadWait) {
  // A second of video takes 8 passes of 50 ms, 40 % of the device: two fit into 95 %.
  StartAndServe({.max_sessions = 8, .denoise = absl::Milliseconds(50), .commit = absl::Milliseconds(50)});
  Learn();
  std::vector<std::thread> viewers;
  for (int i = 0; i < 4; ++i) {
    viewers.emplace_back([&, i] {
      grpc::ClientContext context;
      context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(3));
      auto reader = stub->Generate(&context, Request(8, i));
      v1::GenerateEvent event;
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
  for (std::thread& viewer : viewers) viewer.join();
}

// Must show: at ten times the load, refusals are answered at once.
TEST_F(Admission, RefusalsComeAtOnce) {
  StartAndServe({.max_sessions = 2, .denoise = absl::Milliseconds(20)}, {.studio = {.max_waiting = 2}});
  Learn();
  std::vector<std::thread> viewers;
  std::atomic<int> refused = 0, slow = 0;
  for (int i = 0; i < 40; ++i) {
    viewers.emplace_back([&, i] {
      grpc::ClientContext context;
      context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(4));
      const absl::Time began = absl::Now();
      auto reader = stub->Generate(&context, Request(2, i));
      v1::GenerateEvent event;
      while (reader->Read(&event)) {
      }
      if (reader->Finish().error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED) {
        ++refused;
        // Far from the bound that is measured on an idle machine: this one may be busy.
        if (absl::Now() - began > absl::Seconds(1)) ++slow;
      }
    });
  }
  for (std::thread& viewer : viewers) viewer.join();
  EXPECT_GE(refused, 30);
  EXPECT_EQ(slow, 0);
  Await([&] { return engine->open_sessions() == 0; }, "the last slot");
}

}  // namespace
}  // namespace longtake::server
