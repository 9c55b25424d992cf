// The load generator against a server whose speed is known.
#include <grpcpp/grpcpp.h>

#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "clients/cli/load/load_test.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/server.h"
#include "spdlog/logger.h"
#include "spdlog/sinks/null_sink.h"
#include "tests/server/fake_engine.h"

namespace longtake::client {
namespace {

class LoadRun : public testing::Test {
 protected:
  void Start(FakeEngineOptions engine, server::ServerOptions options = {}) {
    options.listen = "127.0.0.1:0";
    options.studio.max_sessions = engine.max_sessions;
    options.studio.max_wait = absl::InfiniteDuration();
    engine.model = FakeModel();  // a block is half a second
    auto started = server::Server::Start(options, &logger);
    ASSERT_TRUE(started.ok()) << started.status();
    server = *std::move(started);
    server->Serve(std::make_unique<FakeEngine>(engine));
    address = absl::StrCat("127.0.0.1:", server->port());
  }
  LoadTest::Stubs Stubs() {
    return [this] {
      grpc::ChannelArguments own;
      own.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
      return v1::VideoService::NewStub(grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), own));
    };
  }
  nlohmann::json Run(const LoadPlan& plan) {
    return LoadTest(plan, Stubs(), [this](const LoadProgress& progress) { last = progress; }).Run();
  }

  // A first chunk may come later than the 80 ms that it was promised in, for the machine may be busy. Else all was
  // smooth.
  static void ExpectSmooth(const nlohmann::json& report) {
    EXPECT_EQ(report["stalls"], 0) << report.dump(1);
    const double judged = report["judged"], late = report["late_first_chunks"];
    EXPECT_GT(judged, 0);
    EXPECT_DOUBLE_EQ(report["continuity"], (judged - late) / judged) << report.dump(1);
  }

  spdlog::logger logger{"test", std::make_shared<spdlog::sinks::null_sink_mt>()};
  std::unique_ptr<server::Server> server;
  std::string address;
  LoadProgress last;
};

TEST_F(LoadRun, AFastServerLetsEveryPictureRun) {
  Start({});
  const nlohmann::json report =
      Run({.mix = {.shortest = 0.5, .longest = 1.5, .offline = 0.25}, .duration = 3, .rate = 10});
  EXPECT_GT(report["viewers"], 5);
  EXPECT_EQ(report["finished"], report["viewers"]) << report.dump(1);
  ExpectSmooth(report);
  double asked = 0;
  for (const auto& viewer : report["each"]) asked += viewer["seconds"].get<double>();
  // Lengths are rounded to latent frames: half of four at 16 a second.
  EXPECT_NEAR(report["video_s"], asked, 0.13 * report["viewers"].get<double>());
  EXPECT_GT(report["first_chunk_s"]["p50"], 0);
  EXPECT_GE(last.now, 2);
}

TEST_F(LoadRun, ASlowServerStallsThem) {
  // A block of half a second takes 3 x 200 ms of denoising and more.
  Start({.denoise = absl::Milliseconds(200)});
  const nlohmann::json report = Run({.mix = {.shortest = 2, .longest = 2}, .duration = 4, .viewers = 1});
  EXPECT_LT(report["continuity"], 1.0) << report.dump(1);
  EXPECT_GE(report["stalls"], 2);
  EXPECT_EQ(report["failed"], 0);
}

TEST_F(LoadRun, AFixedNumberIsThereAllTheTime) {
  Start({});
  const nlohmann::json report = Run({.mix = {.shortest = 1, .longest = 1}, .duration = 5, .viewers = 3, .warm = 1});
  // Each sees a second and a sixteenth, then the next one comes: 5 / 1.0625 of three.
  EXPECT_LE(report["viewers"], 18);
  EXPECT_GE(report["viewers"], 8) << "15 where nothing else runs";
  EXPECT_GT(report["watching_mean"], 1.5) << "2.9 where nothing else runs";
  EXPECT_LE(report["watching_mean"], 3.0);
  EXPECT_LE(report["video_s_per_s"], 3.6);
  EXPECT_GE(report["video_s_per_s"], 1.5) << "3 where nothing else runs";
  EXPECT_EQ(report["failed"], 0) << report.dump(1);
}

TEST_F(LoadRun, RefusalsAreTimedAndCounted) {
  Start({.max_sessions = 1, .denoise = absl::Milliseconds(30)}, {.studio = {.max_waiting = 1}});
  const nlohmann::json report = Run({.mix = {.shortest = 2, .longest = 2}, .duration = 2, .rate = 20});
  EXPECT_GT(report["refused"], 5) << report.dump(1);
  EXPECT_EQ(report["failed"], 0) << report.dump(1);
  EXPECT_EQ(report["admitted"].get<int>() + report["refused"].get<int>(), report["viewers"].get<int>());
  EXPECT_GT(report["refuse_ms"]["p50"], 0);
}

TEST_F(LoadRun, TheImpatientLeave) {
  Start({.max_sessions = 1, .denoise = absl::Milliseconds(300)});
  const nlohmann::json report =
      Run({.mix = {.shortest = 1, .longest = 1, .impatient = 1, .patience = 0.2}, .duration = 1, .rate = 5});
  EXPECT_EQ(report["left"], report["viewers"]);
  EXPECT_EQ(report["judged"], 0);
}

TEST_F(LoadRun, SlowReadersTakeTheirTimeAndGetAll) {
  Start({});
  const nlohmann::json report = Run({.mix = {.shortest = 2, .longest = 2, .slow = 1}, .duration = 1, .rate = 3});
  EXPECT_EQ(report["finished"], report["viewers"]) << report.dump(1);
  // 33 frames in blocks of 9, 8, 8, 8 take half of their two seconds to read.
  for (const auto& viewer : report["each"])
    EXPECT_GT(viewer["ended"].get<double>() - viewer["asked"].get<double>(), 0.9);
  ExpectSmooth(report);
}

TEST_F(LoadRun, AServerThatGoesIsAFailureNotARefusal) {
  Start({.denoise = absl::Milliseconds(50)});
  const int port = server->port();
  server.reset();
  address = absl::StrCat("127.0.0.1:", port);
  const nlohmann::json report = Run({.mix = {.shortest = 1, .longest = 1}, .duration = 1, .rate = 5});
  EXPECT_EQ(report["failed"], report["viewers"]);
  EXPECT_THAT(report["error"].get<std::string>(), testing::HasSubstr("UNAVAILABLE"));
}

TEST_F(LoadRun, AnInterruptedTestReportsWhatItSaw) {
  Start({.denoise = absl::Milliseconds(100)});
  LoadTest test({.mix = {.shortest = 10, .longest = 10}, .duration = 600, .viewers = 2}, Stubs(),
                [](const LoadProgress&) {});
  std::thread interrupt([&] {
    absl::SleepFor(absl::Seconds(1));
    test.Interrupt();
  });
  const absl::Time began = absl::Now();
  const nlohmann::json report = test.Run();
  interrupt.join();
  EXPECT_LT(absl::Now() - began, absl::Seconds(10));
  EXPECT_EQ(report["cut"], 2);
}

}  // namespace
}  // namespace longtake::client
