// Viewers behind the front, with a clock that the test moves: how far they have come, what they say of themselves, and
// what is made for them.
#include "clients/cli/load/viewer.h"

#include <algorithm>
#include <atomic>
#include <future>
#include <memory>
#include <random>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "scheduler/session.h"
#include "server/video/studio.h"
#include "spdlog/sinks/null_sink.h"
#include "tests/server/checked_viewer.h"
#include "tests/server/fake_clock.h"
#include "tests/server/fake_engine.h"

namespace longtake::server {
namespace {

class Nobody : public ChunkLog::Listener {
 public:
  void OnMore() override {}
};

class ViewerTest : public testing::Test {
 protected:
  // `pass`: what each pass takes of the clock.
  void Start(StudioOptions options = {}, absl::Duration pass = {}) {
    FakeEngineOptions engine_options;
    engine_options.model = FakeModel();
    engine_options.delay = [this, pass](const longtake::Pass&) {
      clock.Advance(pass);
      return absl::ZeroDuration();
    };
    options.max_sessions = engine_options.max_sessions;
    options.max_wait = absl::InfiniteDuration();
    auto made = std::make_unique<FakeEngine>(engine_options);
    engine = made.get();
    studio = std::make_unique<Studio>(options, std::move(made), PlainSerializer, &clock, &metrics, &logger,
                                      /*with_thread=*/false);
  }
  // A live video of blocks of half a second, and its viewer, who is there from the start.
  std::unique_ptr<Watch> Create(double seconds, Disconnect disconnect, const std::string& viewer_id = "") {
    decoded_before = Decoded();
    std::promise<std::unique_ptr<Watch>> answer;
    studio->Create({.spec = {.prompt = "a red ball", .seed = 1, .duration = absl::Seconds(seconds)},
                    .default_disconnect = disconnect},
                   [&](const absl::StatusOr<std::shared_ptr<Video>>& created) {
                     ASSERT_TRUE(created.ok()) << created.status();
                     video = *created;
                     auto watch = video->OpenWatch({.viewer_id = viewer_id}, nobody);
                     ASSERT_TRUE(watch.ok()) << watch.status();
                     answer.set_value(*std::move(watch));
                   });
    return answer.get_future().get();
  }
  // The viewer takes everything up to its next chunk, which has to be there.
  Chunk TakeChunk(Watch& watch) {
    while (true) {
      const ChunkLog::Step step = watch.Next();
      if (step.piece == nullptr) {
        EXPECT_FALSE(step.end.has_value()) << "no chunk is left";
        if (step.end.has_value()) return {};
        absl::SleepFor(absl::Milliseconds(1));  // it is being made
        continue;
      }
      watch.Report(watch.Written());
      if (const auto* chunk = std::get_if<Chunk>(&step.piece->event.body); chunk != nullptr) return *chunk;
    }
  }
  void TakeBlocks(Watch& watch, int blocks) {
    while (blocks > 0) blocks -= TakeChunk(watch).last_in_block() ? 1 : 0;
  }
  // The viewer takes all that will be made for it without the clock's moving on.
  void TakeAll(Watch& watch) {
    for (bool took = true; took;) {
      took = false;
      Settle();
      for (ChunkLog::Step step = watch.Next(); step.piece != nullptr; step = watch.Next()) {
        watch.Report(watch.Written());
        took = true;
      }
    }
  }
  // Moves the clock, and the scheduler looks at it.
  void Pass(absl::Duration time) {
    clock.Advance(time);
    studio->Tick();
    studio->stats();
  }
  // Waits until nothing more is made for the newest video, of which no viewer takes anything meanwhile, while the clock
  // stands still: the engine rests, and all that it has decoded is in the log.
  void Settle() {
    Await([&] { return AtRest() && Decoded() - decoded_before == Chunks(); }, "rest");
  }
  // Nothing is under way on the engine, and the scheduler begins nothing. Between two calls of stats() lies a turn of
  // the scheduler, which begins what it can. A pass that began in the turn between the last two is either under way in
  // the last one or counted by then.
  bool AtRest() const {
    const size_t ran = engine->ran().size();
    studio->stats();  // what was posted before has been looked at
    return studio->stats().passes_in_flight == 0 && studio->stats().passes_in_flight == 0 &&
           engine->ran().size() == ran;
  }
  // Latent frames: as many chunks come of them.
  int Decoded() const {
    const std::vector<FakeEngine::Ran> ran = engine->ran();
    return static_cast<int>(std::count_if(ran.begin(), ran.end(),
                                          [](const FakeEngine::Ran& pass) { return pass.kind == PassKind::kDecode; }));
  }
  // In the newest video's log.
  int Chunks() {
    ChunkLog::Cursor cursor{.follow = false};
    int chunks = 0;
    for (auto step = video->log().Next(cursor); step.piece != nullptr; step = video->log().Next(cursor)) {
      chunks += std::holds_alternative<Chunk>(step.piece->event.body) ? 1 : 0;
    }
    return chunks;
  }
  // Fails after two minutes, so that a busy machine is no failure.
  void Await(const std::function<bool()>& condition, const char* what) {
    for (int i = 0; i < 120'000; ++i) {
      if (condition()) return;
      absl::SleepFor(absl::Milliseconds(1));
    }
    FAIL() << "waited in vain for " << what;
  }
  double Value(const std::string& name) const {
    for (const std::string& line : std::vector<std::string>(absl::StrSplit(metrics.Text(), '\n'))) {
      if (absl::StartsWith(line, name + " ")) return std::stod(line.substr(name.size() + 1));
    }
    return -1;
  }
  double Left(const std::string& outcome) const {
    return Value("longtake_live_viewers_left_total{outcome=\"" + outcome + "\"}");
  }

  FakeClock clock;
  Metrics metrics;
  spdlog::logger logger{"test", std::make_shared<spdlog::sinks::null_sink_mt>()};
  std::shared_ptr<Nobody> nobody = std::make_shared<Nobody>();
  FakeEngine* engine = nullptr;
  std::unique_ptr<Studio> studio;
  std::shared_ptr<Video> video;
  int decoded_before = 0;  // for videos before the newest
};

TEST_F(ViewerTest, OneWhoStopsReadingIsMadeTwoBlocksMoreAndNeedsNothing) {
  Start();
  std::unique_ptr<Watch> watch = Create(10, Disconnect::kCancel);
  TakeBlocks(*watch, 3);
  Settle();
  EXPECT_EQ(video->info().blocks, 3 + 2);
  EXPECT_EQ(Value("longtake_live_viewers{stalled=\"true\"}"), 0);
  int undisturbed = 0, stalled = 0;
  Pass(absl::Seconds(4));
  video->CountViewers(undisturbed, stalled);
  EXPECT_EQ(stalled, 1) << "the three blocks are played";
  Pass(absl::ZeroDuration());
  Settle();
  EXPECT_EQ(video->info().blocks, 3 + 2);
  watch.reset();
  EXPECT_EQ(Left("stalled"), 1);
  EXPECT_EQ(Value("longtake_stalls_total"), 1);
}

TEST_F(ViewerTest, APauseIsToldAndNothingMoreIsMade) {
  Start({.lead = absl::Seconds(1), .max_lead = absl::Seconds(1)});
  std::unique_ptr<Watch> watch = Create(10, Disconnect::kCancel, "tv");
  TakeBlocks(*watch, 2);
  TakeAll(*watch);
  ASSERT_TRUE(studio->ReportPlayback({}, video->name(), "tv", absl::Seconds(0.5), true).ok());
  Await([&] { return studio->stats().asleep == 1; }, "its sleep");
  EXPECT_EQ(studio->stats().live_load, 0);
  TakeAll(*watch);
  const int blocks = video->info().blocks;
  Pass(absl::Minutes(1));
  EXPECT_EQ(studio->stats().asleep, 1);
  TakeAll(*watch);
  EXPECT_EQ(video->info().blocks, blocks) << "its lead has not shrunk";
  // It plays on, and is a second further by its own word.
  ASSERT_TRUE(studio->ReportPlayback({}, video->name(), "tv", absl::Seconds(1.5), false).ok());
  Await([&] { return video->info().blocks > blocks; }, "more");
  EXPECT_EQ(studio->stats().asleep, 0);
  watch.reset();
  EXPECT_EQ(Left("stalled"), 0) << "a pause is no stall";
  EXPECT_EQ(Left("smooth"), 1);
}

TEST_F(ViewerTest, TheForemostWhoPlaysCounts) {
  Start({.lead = absl::Seconds(1), .max_lead = absl::Seconds(1)});
  std::unique_ptr<Watch> first = Create(10, Disconnect::kCancel, "a");
  TakeBlocks(*first, 2);
  const auto second = video->OpenWatch({.viewer_id = "b"}, nobody);
  ASSERT_TRUE(second.ok());
  TakeBlocks(**second, 1);
  TakeAll(*first);
  const auto report = [&](const char* viewer, bool paused) {
    return studio->ReportPlayback({}, video->name(), viewer, absl::Milliseconds(100), paused).status();
  };
  ASSERT_TRUE(report("a", true).ok());
  Settle();
  EXPECT_EQ(studio->stats().asleep, 0) << "the other plays";
  ASSERT_TRUE(report("b", true).ok());
  Await([&] { return studio->stats().asleep == 1; }, "the pause of both");
  ASSERT_TRUE(report("a", false).ok());
  Await([&] { return studio->stats().asleep == 0; }, "the first to play on");
  ASSERT_TRUE(report("b", true).ok());
  EXPECT_EQ(DetailsOf(report("c", true)).reason, Reason::kViewerNotFound);
  EXPECT_EQ(DetailsOf(studio->ReportPlayback({}, "videos/1", "a", {}, true).status()).reason, Reason::kVideoNotFound);
}

TEST_F(ViewerTest, OneWhoPausesAndGoesDoesNotStopAVideoThatContinues) {
  Start({.lead = absl::Seconds(1), .max_lead = absl::Seconds(1)});
  std::unique_ptr<Watch> watch = Create(5, Disconnect::kContinue, "tv");
  TakeBlocks(*watch, 1);
  ASSERT_TRUE(studio->ReportPlayback({}, video->name(), "tv", absl::ZeroDuration(), true).ok());
  Await([&] { return studio->stats().asleep == 1; }, "its sleep");
  watch.reset();
  Await(
      [&] {
        Pass(absl::Seconds(1));
        return video->state() == State::kMade;
      },
      "the end");
}

TEST_F(ViewerTest, LateFirstChunksAndVainWaitsCountAgainstThePromise) {
  Start({}, absl::Milliseconds(1));
  // Teaches what passes take, and is promised nothing yet.
  std::unique_ptr<Watch> teacher = Create(1, Disconnect::kCancel);
  TakeBlocks(*teacher, 2);
  teacher.reset();
  EXPECT_EQ(Left("smooth"), 1);
  std::unique_ptr<Watch> late = Create(1, Disconnect::kCancel);
  ASSERT_LT(video->promised(), absl::InfiniteDuration());
  Settle();
  clock.Advance(video->promised() + absl::Seconds(1));
  TakeBlocks(*late, 2);
  late.reset();
  EXPECT_EQ(Left("late"), 1);
  std::unique_ptr<Watch> in_vain = Create(1, Disconnect::kCancel);
  clock.Advance(video->promised() + absl::Seconds(1));
  in_vain.reset();
  EXPECT_EQ(Left("late"), 2);
  std::unique_ptr<Watch> soon_gone = Create(1, Disconnect::kCancel);
  soon_gone.reset();
  EXPECT_EQ(Left("smooth") + Left("late") + Left("stalled") + Left("cut"), 3) << "nothing was due to it yet";
}

TEST_F(ViewerTest, OfAFailedVideoIsCut) {
  Start();
  std::unique_ptr<Watch> watch = Create(10, Disconnect::kCancel);
  TakeBlocks(*watch, 1);
  studio->EndAll(MakeError(absl::StatusCode::kUnavailable, "shutting down", {.reason = Reason::kShuttingDown}));
  Await([&] { return IsEnd(video->state()); }, "the end");
  watch.reset();
  EXPECT_EQ(Left("cut"), 1);
}

// The scheduler, the server and the load generator see one viewer: the same chunks at the same moments are the same
// picture for all of them.
TEST_F(ViewerTest, EverybodySeesTheSamePicture) {
  int stalled = 0;
  for (int seed = 0; seed < 20; ++seed) {
    Start({.max_undelivered_chunks = 100});
    std::unique_ptr<Watch> watch = Create(5, Disconnect::kContinue);
    const VideoPlan& plan = video->plan();
    scheduler::Session session({.id = scheduler::SessionId{1},
                                .block_latents = plan.block_latents,
                                .first_latent_seconds = 1.0 / 16,
                                .latent_seconds = 4.0 / 16});
    session.state = scheduler::Session::State::kRunning;
    const scheduler::Options options{.max_undelivered_blocks = 100};
    const scheduler::CostModel costs;
    while (const auto kind = session.Next(scheduler::LaneRole::kAll, options)) {
      session.Start(*kind, clock.Now(), {&costs, &costs}, 1, scheduler::Session::Pressure::kNone);
      session.Finish(*kind, clock.Now());
    }
    client::Record record;
    std::mt19937 random(seed);
    const bool slow = seed % 2 == 0;
    int last = 0;
    for (int64_t frames = 0; frames < plan.frames();) {
      clock.Advance(absl::Milliseconds(random() % (slow ? 700 : 240)));
      const Chunk chunk = TakeChunk(*watch);
      frames = chunk.first_frame + chunk.frames;
      session.Delivered(clock.Now(), chunk.pts + chunk.duration);
      record.OnChunk(absl::ToDoubleSeconds(clock.Now()), absl::ToDoubleSeconds(chunk.duration), chunk.last_in_block());
      const Watch::Picture picture = watch->picture();
      EXPECT_EQ(session.has_stalled(), record.playout.stalls() > 0);
      // Before the picture moves the server, which knows how long the block is, may already see that it comes too late.
      if (record.playout.moves()) {
        EXPECT_EQ(picture.stalled, record.playout.stalls() > 0);
      }
      EXPECT_LT(absl::AbsDuration(picture.position - record.playout.Position(clock.Now())), absl::Microseconds(1));
      last = record.playout.stalls();
    }
    EXPECT_EQ(Value("longtake_stalls_total"), last + stalled);
    stalled += last;
    watch.reset();
    studio.reset();
  }
  EXPECT_GT(stalled, 10);
  EXPECT_GT(Left("smooth"), 2);
}

}  // namespace
}  // namespace longtake::server
