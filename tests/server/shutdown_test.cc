// What the probes answer over gRPC and HTTP, and how a server ends. lifecycle_test has the times.
#include <atomic>
#include <memory>
#include <string>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/fake_clock.h"
#include "tests/server/gate.h"
#include "tests/server/http_get.h"
#include "tests/server/server_fixture.h"

namespace longtake::server {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

class Shutdown : public ServerFixture {
 protected:
  void TearDown() override {
    gate.Open();
    ServerFixture::TearDown();
  }
  bool Logged(const std::string& text) { return absl::StrContains(LogText(), text); }
  // Live, ready, started: "++-" where it is not started. Both ways of asking must agree.
  std::string Probes() {
    std::string grpc, http;
    for (const char* name : {"liveness", "readiness", "startup"}) grpc += Health(name) == 1 ? "+" : "-";
    for (const char* path : {"/livez", "/readyz", "/startupz"}) {
      http += absl::StartsWith(HttpGet(server->metrics_port(), path), "HTTP/1.1 200") ? "+" : "-";
    }
    if (Health("") != Health("liveness") || Health("longtake.v1.VideoService") != Health("readiness") ||
        Health("longtake.v1.ModelService") != Health("readiness")) {
      return "names that mean the same differ";  // as they do for a moment while they change
    }
    return grpc == http ? grpc : absl::StrCat(grpc, " by gRPC, ", http, " by HTTP");
  }
  void AwaitProbes(const std::string& expected) {
    Await([&] { return Probes() == expected; }, expected.c_str());
  }
  // Every pass waits at the gate.
  FakeEngineOptions Gated(int max_sessions = 4) {
    gate.Close();
    return {.max_sessions = max_sessions, .delay = [this](const Pass&) {
              gate.Pass();
              return absl::ZeroDuration();
            }};
  }

  FakeClock clock;
  Gate gate;
  const ServerOptions with_http{.metrics_listen = "127.0.0.1:0"};
};

TEST_F(Shutdown, IsLiveAtOnceAndReadyWhenTheEngineIs) {
  Start({}, with_http);
  EXPECT_EQ(Probes(), "+--");
  const Watched early = Generate(Request(1));
  EXPECT_EQ(early.status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(ReasonOf(early.status), "MODEL_LOADING");
  EXPECT_TRUE(DetailOf<google::rpc::RetryInfo>(early.status).has_value());
  Serve();
  EXPECT_EQ(Probes(), "+++");
  EXPECT_TRUE(Generate(Request(1)).status.ok());
  AwaitMetrics("longtake_chunks_total 5");
  EXPECT_THAT(HttpGet(server->metrics_port(), "/metrics"), HasSubstr("longtake_chunks_total 5"));
  EXPECT_THAT(HttpGet(server->metrics_port(), "/"), StartsWith("HTTP/1.1 404"));
  EXPECT_EQ(Health("unknown"), 0);
}

TEST_F(Shutdown, InItsGraceNewWorkIsTakenAndAfterwardsRefused) {
  ServerOptions options = with_http;
  options.clock = &clock;
  StartAndServe(Gated(2), options);
  Watched running, late;
  std::thread first([&] { running = Generate(Request(1, 1)); });
  Await([&] { return engine->open_sessions() == 1; }, "the first video");
  server->Stop(/*grace=*/true);
  AwaitProbes("+-+");
  std::thread second([&] { late = Generate(Request(1, 2)); });
  Await([&] { return engine->open_sessions() == 2; }, "a video that came in the grace");
  clock.Advance(options.lifecycle.shutdown_grace);
  // Both places are taken, so it waits if it comes before the refusal.
  const grpc::Status refused = Generate(Request(1, 3)).status;
  EXPECT_EQ(ReasonOf(refused), "SHUTTING_DOWN");
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_TRUE(DetailOf<google::rpc::RetryInfo>(refused).has_value());
  EXPECT_FALSE(server->AwaitStopped(absl::ZeroDuration()));
  gate.Open();
  first.join();
  second.join();
  EXPECT_TRUE(running.status.ok()) << running.status.error_message();
  EXPECT_TRUE(late.status.ok()) << late.status.error_message();
  EXPECT_TRUE(server->AwaitStopped(absl::Minutes(1)));
}

TEST_F(Shutdown, WithoutGraceVideosEndAndThoseThatWaitAreRefused) {
  StartAndServe(Gated(1));
  Watched running, waiting;
  std::thread first([&] { running = Generate(Request(2, 1)); });
  Await([&] { return engine->open_sessions() == 1; }, "the first video");
  std::thread second([&] { waiting = Generate(Request(1, 2)); });
  Await([&] { return absl::StrContains(server->MetricsText(), "longtake_queue_length{delivery=\"live\"} 1\n"); },
        "the queue");
  server->Stop(/*grace=*/false);
  second.join();
  EXPECT_EQ(waiting.status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(Generate(Request(1, 3)).status.error_code(), grpc::StatusCode::UNAVAILABLE);
  gate.Open();
  first.join();
  EXPECT_TRUE(running.status.ok()) << running.status.error_message();
  EXPECT_EQ(running.finished().frame_count(), 33);
  EXPECT_TRUE(server->AwaitStopped(absl::Minutes(1)));
}

TEST_F(Shutdown, AVideoThatTakesTooLongEndsBehindItsFinishedChunks) {
  ServerOptions options;
  options.clock = &clock;
  gate.Close();
  // Three blocks of three steps each are made; all of the first two has been decoded by then.
  StartAndServe({.max_sessions = 1,
                 .delay =
                     [this, denoised = 0](const Pass& pass) mutable {
                       if (pass.kind == PassKind::kDenoise && ++denoised == 10) gate.Pass();
                       return absl::ZeroDuration();
                     }},
                options);
  Watched cut;
  std::atomic<int> chunks = 0;
  std::thread client(
      [&] { cut = Generate(Request(10, 1), [&](const auto& event, auto&) { chunks += event.has_chunk() ? 1 : 0; }); });
  Await([&] { return chunks >= 5; }, "the chunks of two blocks, of 3 and 2 latent frames");
  server->Stop(/*grace=*/true);
  Await([&] { return Health("readiness") == 2; }, "its begin");
  clock.Advance(options.lifecycle.shutdown_grace);
  EXPECT_EQ(ReasonOf(Generate(Request(1, 2)).status), "SHUTTING_DOWN");
  clock.Advance(options.lifecycle.shutdown_limit - options.lifecycle.shutdown_grace -
                options.lifecycle.shutdown_reading);
  // The pass under way cannot be interrupted; the video's end waits for it.
  Await([&] { return Logged("still being made are ended"); }, "the cut");
  gate.Open();
  client.join();
  EXPECT_EQ(cut.status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(cut.status.error_message(), "the server is shutting down");
  EXPECT_EQ(ReasonOf(cut.status), "SHUTTING_DOWN");
  EXPECT_TRUE(DetailOf<google::rpc::RetryInfo>(cut.status).has_value());
  int64_t frames = 0;
  for (const v1::Chunk* chunk : cut.chunks()) frames += chunk->frame_count();
  EXPECT_EQ(frames, 1 + 4 * (static_cast<int64_t>(cut.chunks().size()) - 1)) << "no chunk is lost or torn";
  EXPECT_TRUE(server->AwaitStopped(absl::Minutes(1)));
}

TEST_F(Shutdown, AServerThatIsLoadingStopsAtOnceAndServesNoMore) {
  Start({}, with_http);
  server->Stop(/*grace=*/true);
  EXPECT_TRUE(server->AwaitStopped(absl::Minutes(1))) << "its clock is the system's: a grace would show";
  Serve();
  EXPECT_EQ(Health(""), 0) << "nobody answers";
}

TEST_F(Shutdown, ALostDeviceTurnsHealthOffAndRefusesWork) {
  std::atomic<bool> lost = false;
  StartAndServe(
      {.fail_open = [&] { return lost ? absl::UnavailableError("device 0: an illegal address") : absl::OkStatus(); }},
      with_http);
  EXPECT_TRUE(Generate(Request(1)).status.ok());
  lost = true;
  const Watched first = Generate(Request(1));
  EXPECT_EQ(first.status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(ReasonOf(first.status), "DEVICE_FAILED");
  AwaitProbes("--+");
  Await([&] { return Generate(Request(1)).status.error_message() == "the device is lost"; }, "the refusal");
  const Watched refused = Generate(Request(1));
  EXPECT_EQ(refused.status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_TRUE(DetailOf<google::rpc::RetryInfo>(refused.status).has_value());
  Drain();
  EXPECT_TRUE(Logged("the device is lost: device 0: an illegal address"));
}

TEST_F(Shutdown, AStuckDeviceTurnsHealthOffUntilItWorksAgain) {
  ServerOptions options = with_http;
  options.clock = &clock;
  options.studio.max_unread = absl::InfiniteDuration();  // a write under way while the clock jumps is no client's fault
  StartAndServe(Gated(), options);
  Watched video;
  std::thread viewer([&] { video = Generate(Request(1)); });
  Await([&] { return engine->open_sessions() == 1; }, "the video");
  AwaitProbes("+++");
  clock.Advance(absl::Minutes(11));  // the first pass of its kind has ten
  AwaitProbes("--+");
  gate.Open();
  AwaitProbes("+++");
  viewer.join();
  EXPECT_TRUE(video.status.ok());
  Drain();
  EXPECT_TRUE(Logged("the device is stuck: a batch of 1 encode_prompt has been under way"));
}

}  // namespace
}  // namespace longtake::server
