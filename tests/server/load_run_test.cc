// The load generator against a server whose speed is known.
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <future>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "clients/cli/load/load_test.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/server.h"
#include "spdlog/logger.h"
#include "spdlog/sinks/null_sink.h"
#include "tests/server/fake_clock.h"
#include "tests/server/fake_engine.h"
#include "tests/server/gate.h"

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
    return RunUntil(plan, [](const LoadProgress&) { return false; });
  }
  // Interrupts it when the progress that is shown is `enough`.
  nlohmann::json RunUntil(const LoadPlan& plan, const std::function<bool(const LoadProgress&)>& enough) {
    LoadTest* running = nullptr;
    LoadTest test(plan, Stubs(), [&](const LoadProgress& progress) {
      last = progress;
      if (enough(progress)) running->Interrupt();
    });
    running = &test;
    return test.Run();
  }
  // What one viewer of a video of this many seconds sees by a clock that stands still but for what `on_chunk` does to
  // it after each chunk.
  Record Watch(double seconds, const std::function<void(FakeClock& clock, bool stalled)>& on_chunk) {
    FakeClock clock;
    Timetable timetable(&clock);
    const auto stub = Stubs()();
    std::promise<void> done;
    Viewer viewer({.seconds = seconds, .prompt = "a red ball", .seed = 1}, /*slot=*/-1, &timetable,
                  {.on_chunk = [&](double, double, bool stalled) { on_chunk(clock, stalled); },
                   .on_done = [&done] { done.set_value(); }});
    viewer.Start(stub.get());
    done.get_future().wait();
    return viewer.record();
  }
  // An engine's delay that waits at the gate before each pass.
  auto Hold() {
    gate.Close();
    return [this](const Pass&) {
      gate.Pass();
      return absl::ZeroDuration();
    };
  }
  void TearDown() override {
    gate.Open();
    server.reset();
  }

  spdlog::logger logger{"test", std::make_shared<spdlog::sinks::null_sink_mt>()};
  Gate gate;
  std::unique_ptr<server::Server> server;
  std::string address;
  LoadProgress last;
};

// How smooth it was for them depends on what else this machine does; the next two tests have a clock of their own.
TEST_F(LoadRun, AFastServerServesEverybody) {
  // After a pause of the machine all may be there at once.
  Start({}, {.studio = {.max_waiting = 100}});
  const nlohmann::json report =
      Run({.mix = {.shortest = 0.5, .longest = 1.5, .offline = 0.25}, .duration = 3, .rate = 10});
  EXPECT_GT(report["viewers"], 5);
  EXPECT_EQ(report["finished"], report["viewers"]) << report.dump(1);
  EXPECT_GT(report["judged"], 0);
  double asked = 0;
  for (const auto& viewer : report["each"]) asked += viewer["seconds"].get<double>();
  // Lengths are rounded to latent frames: half of four at 16 a second.
  EXPECT_NEAR(report["video_s"], asked, 0.13 * report["viewers"].get<double>());
  EXPECT_GT(report["first_chunk_s"]["p50"], 0);
  EXPECT_GE(last.now, 2);
}

// 33 frames, nine latent ones in blocks of 3, 2, 2, 2: 9 frames, then 8 each. A latent frame is a chunk.
TEST_F(LoadRun, ThePictureRunsForAViewerWhoGetsEverythingInTime) {
  Start({});
  const Record record = Watch(2, [](FakeClock&, bool stalled) { EXPECT_FALSE(stalled); });
  EXPECT_EQ(record.end, End::kFinished) << record.error;
  EXPECT_EQ(record.chunks, 9);
  EXPECT_EQ(record.playout.arrived(), absl::Seconds(33.0 / 16));
  EXPECT_EQ(record.playout.stalls(), 0);
  EXPECT_FALSE(record.first_chunk_late());
}

TEST_F(LoadRun, ThePictureStandsStillForEachLateChunk) {
  Start({});
  int told = 0;
  const Record record = Watch(2, [&](FakeClock& clock, bool stalled) {
    told += stalled ? 1 : 0;
    clock.Advance(absl::Seconds(1));
  });
  EXPECT_EQ(record.end, End::kFinished) << record.error;
  // The last chunk of the first block, and all six of the others.
  EXPECT_EQ(record.playout.stalls(), 7);
  EXPECT_EQ(told, 7);
  // The first block is there after two seconds and plays for 9 / 16. Each later chunk comes a second after the one
  // before, which plays for a quarter.
  EXPECT_EQ(record.playout.stalled(), absl::Seconds((2 - 9.0 / 16) + (1 - 9.0 / 16) + 5 * (1 - 0.25)));
}

TEST_F(LoadRun, ASlowServerStallsThem) {
  // The second block's denoising begins two seconds after its viewer has got a chunk of the first, which plays for 9 /
  // 16 of a second.
  std::atomic<bool> watched = false;
  Start({.delay = [&, committed = false, held = false](const Pass& pass) mutable {
    committed = committed || pass.kind == PassKind::kCommit;
    if (!committed || held || pass.kind != PassKind::kDenoise) return absl::ZeroDuration();
    held = true;
    while (!watched) absl::SleepFor(absl::Milliseconds(1));
    return absl::Seconds(2);
  }});
  const nlohmann::json report = RunUntil({.mix = {.shortest = 2, .longest = 2}, .duration = 600, .viewers = 1},
                                         [&](const LoadProgress& progress) {
                                           if (progress.watching > 0) watched = true;
                                           return progress.done > 0;
                                         });
  watched = true;
  server.reset();  // before what its engine looks at is gone
  EXPECT_LT(report["continuity"], 1.0) << report.dump(1);
  EXPECT_GE(report["stalls"], 1);
  EXPECT_GE(report["finished"], 1);
  EXPECT_EQ(report["failed"], 0);
}

TEST_F(LoadRun, AFixedNumberIsThereAllTheTime) {
  constexpr int kViewers = 3;
  Start({});
  bool all = false;
  const nlohmann::json report = RunUntil({.mix = {.shortest = 1, .longest = 1}, .duration = 600, .viewers = kViewers},
                                         [&](const LoadProgress& progress) {
                                           EXPECT_LE(progress.asking + progress.watching, kViewers);
                                           all = all || progress.watching == kViewers;
                                           return all && progress.done >= 3 * kViewers;
                                         });
  EXPECT_GE(report["finished"], 3 * kViewers);
  EXPECT_EQ(report["failed"], 0) << report.dump(1);
  // Each sees a second and a sixteenth, then the next one comes: of any four in a row, the last comes after the end of
  // another.
  std::vector<double> asked;
  for (const auto& viewer : report["each"]) asked.push_back(viewer["asked"].get<double>());
  std::sort(asked.begin(), asked.end());
  for (size_t i = kViewers; i < asked.size(); ++i) EXPECT_GE(asked[i] - asked[i - kViewers], 17.0 / 16 - 1e-6);
}

TEST_F(LoadRun, RefusalsAreTimedAndCounted) {
  Start({.max_sessions = 1, .delay = Hold()}, {.studio = {.max_waiting = 1}});
  const nlohmann::json report =
      RunUntil({.mix = {.shortest = 2, .longest = 2}, .duration = 2, .rate = 20}, [this](const LoadProgress& progress) {
        if (progress.refused > 5) gate.Open();
        return false;
      });
  EXPECT_GT(report["refused"], 5) << report.dump(1);
  EXPECT_EQ(report["failed"], 0) << report.dump(1);
  EXPECT_EQ(report["admitted"].get<int>() + report["refused"].get<int>(), report["viewers"].get<int>());
  EXPECT_GT(report["refuse_ms"]["p50"], 0);
}

TEST_F(LoadRun, TheImpatientLeave) {
  Start({.max_sessions = 1, .delay = Hold()});
  const nlohmann::json report =
      Run({.mix = {.shortest = 1, .longest = 1, .impatient = 1, .patience = 0.2}, .duration = 1, .rate = 5});
  EXPECT_GT(report["viewers"], 0);
  EXPECT_EQ(report["left"], report["viewers"]);
  EXPECT_EQ(report["judged"], 0);
}

TEST_F(LoadRun, SlowReadersTakeTheirTimeAndGetAll) {
  Start({});
  const nlohmann::json report = Run({.mix = {.shortest = 2, .longest = 2, .slow = 1}, .duration = 1, .rate = 3});
  EXPECT_GT(report["viewers"], 0);
  EXPECT_EQ(report["finished"], report["viewers"]) << report.dump(1);
  // 33 frames in blocks of 9, 8, 8, 8 take half of their two seconds to read.
  for (const auto& viewer : report["each"])
    EXPECT_GT(viewer["ended"].get<double>() - viewer["asked"].get<double>(), 0.9);
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
  Start({.delay = Hold()});
  const nlohmann::json report = RunUntil({.mix = {.shortest = 10, .longest = 10}, .duration = 600, .viewers = 2},
                                         [](const LoadProgress& progress) { return progress.asking == 2; });
  EXPECT_EQ(report["cut"], 2);
  EXPECT_EQ(report["viewers"], 2) << "it went on";
}

}  // namespace
}  // namespace longtake::client
