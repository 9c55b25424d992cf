// Random faults behind the RPCs: clients that go at any moment, passes and places that fail, clients that do not read.
#include <algorithm>
#include <atomic>
#include <future>
#include <random>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "common/mutex.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/video/studio.h"
#include "spdlog/sinks/null_sink.h"
#include "tests/server/checked_viewer.h"
#include "tests/server/fake_engine.h"

namespace longtake::server {
namespace {

// A fake engine's calls in their order.
class WatchedEngine : public Engine {
 public:
  struct Step {
    enum Kind { kSubmit, kDone, kClose } kind;  // kDone: the scheduler has been told that a pass is done
    std::vector<SessionId> sessions;
  };

  explicit WatchedEngine(const FakeEngineOptions& options) : engine_(options) {}
  const ModelInfo& model() const override { return engine_.model(); }
  std::vector<MemoryRegion> memory() const override { return engine_.memory(); }
  std::vector<int> BlockLengths(int latents, bool image) const override { return engine_.BlockLengths(latents, image); }
  absl::StatusOr<SessionProgress> progress(SessionId id) const override { return engine_.progress(id); }
  absl::Status CheckCheckpoint(const SessionSpec& spec, std::span<const std::byte> checkpoint) const override {
    return engine_.CheckCheckpoint(spec, checkpoint);
  }
  absl::StatusOr<SessionId> OpenSession(const SessionSpec& spec) override {
    absl::StatusOr<SessionId> id = engine_.OpenSession(spec);
    const MutexLock lock(mutex_);
    if (id.ok()) sessions_[spec.seed] = *id;
    return id;
  }
  void CloseSession(SessionId id) override {
    engine_.CloseSession(id);
    const MutexLock lock(mutex_);
    steps_.push_back({Step::kClose, {id}});
  }
  void Submit(Lane lane, std::vector<Pass> passes, std::function<void(size_t, PassResult)> done) override {
    std::vector<SessionId> sessions;
    for (const Pass& pass : passes) sessions.push_back(pass.session);
    {
      const MutexLock lock(mutex_);
      steps_.push_back({Step::kSubmit, sessions});
    }
    engine_.Submit(lane, std::move(passes),
                   [this, sessions = std::move(sessions), done = std::move(done)](size_t index, PassResult result) {
                     done(index, std::move(result));
                     const MutexLock lock(mutex_);
                     steps_.push_back({Step::kDone, {sessions[index]}});
                   });
  }

  size_t steps() const {
    const MutexLock lock(mutex_);
    return steps_.size();
  }
  std::vector<Step> StepsFrom(size_t first) const {
    const MutexLock lock(mutex_);
    return {steps_.begin() + static_cast<std::ptrdiff_t>(first), steps_.end()};
  }
  SessionId SessionOfSeed(uint64_t seed) const {  // 0: was not opened
    const MutexLock lock(mutex_);
    const auto found = sessions_.find(seed);
    return found == sessions_.end() ? 0 : found->second;
  }
  const FakeEngine& fake() const { return engine_; }

 private:
  mutable Mutex mutex_;
  std::vector<Step> steps_ ABSL_GUARDED_BY(mutex_);
  std::map<uint64_t, SessionId> sessions_ ABSL_GUARDED_BY(mutex_);
  FakeEngine engine_;
};

class Faults : public testing::Test {
 protected:
  void Start(FakeEngineOptions engine_options, StudioOptions options) {
    engine_options.model = FakeModel();
    options.max_sessions = engine_options.max_sessions;
    options.max_wait = absl::InfiniteDuration();
    auto made = std::make_unique<WatchedEngine>(engine_options);
    engine = made.get();
    studio = std::make_unique<Studio>(options, std::move(made), PlainSerializer, &clock, &metrics, &logger);
  }
  // As GenerateVideo does it: the viewer is there before anything happens.
  absl::StatusOr<std::shared_ptr<Video>> Generate(int64_t seed, double seconds,
                                                  const std::shared_ptr<CheckedViewer>& viewer, bool offline = false,
                                                  Disconnect disconnect = Disconnect::kCancel) {
    std::promise<absl::StatusOr<std::shared_ptr<Video>>> answer;
    studio->Create({.spec = {.prompt = "a red ball", .seed = seed, .duration = absl::Seconds(seconds)},
                    .options = {.delivery = offline ? scheduler::Delivery::kOffline : scheduler::Delivery::kLive},
                    .default_disconnect = disconnect},
                   [&](const absl::StatusOr<std::shared_ptr<Video>>& video) {
                     if (video.ok()) {
                       EXPECT_TRUE(viewer->Open(*video).ok());
                     }
                     answer.set_value(video);
                   });
    return answer.get_future().get();
  }
  // Videos that have ended, by the metrics.
  int Ended() const {
    int ended = 0;
    for (const absl::string_view line : absl::StrSplit(metrics.Text(), '\n')) {
      const std::vector<std::string> words = absl::StrSplit(line, ' ');
      if (absl::StartsWith(line, "longtake_videos_ended_total{")) ended += std::stoi(words.back());
    }
    return ended;
  }
  // Fails after five minutes, so that a busy machine is no failure.
  static void Await(const std::function<bool()>& condition, const char* what) {
    for (int i = 0; i < 300'000; ++i) {
      if (condition()) return;
      absl::SleepFor(absl::Milliseconds(1));
    }
    FAIL() << "waited in vain for " << what;
  }

  MonotonicClock clock;
  Metrics metrics;
  spdlog::logger logger{"test", std::make_shared<spdlog::sinks::null_sink_mt>()};
  WatchedEngine* engine = nullptr;
  std::unique_ptr<Studio> studio;
};

// Passes take 0 to 2 ms by chance, and clients go after 0 to 30 ms by chance: while they wait, while their place is
// being opened, in any pass, between passes, and at the end.
TEST_F(Faults, AThousandCancelsFreeTheirPlaceAtTheNextTurn) {
  constexpr int kTries = 1000, kAtOnce = 6, kPlaced = 4;  // one in kPlaced waits for its place before it sleeps
  std::atomic<uint64_t> delays = 1;
  Start({.max_sessions = 4,
         .delay = [&](const Pass&) { return absl::Microseconds(std::minstd_rand(delays++ * 7919)() % 2000); }},
        {.max_waiting = kAtOnce});
  std::atomic<int> next = 0, placed = 0;
  const auto client = [&](int number) {
    std::mt19937 random(number);
    for (int n; (n = next++) < kTries;) {
      const uint64_t seed = 1000 + n;
      const auto viewer = std::make_shared<CheckedViewer>();
      const absl::StatusOr<std::shared_ptr<Video>> video = Generate(seed, 10, viewer, n % 3 == 0);
      ASSERT_TRUE(video.ok()) << video.status();
      // Some have a place for certain, however slowly this machine gives them.
      if (n % kPlaced == 1) {
        Await([&] { return engine->SessionOfSeed(seed) != 0; }, "a place");
      }
      absl::SleepFor(absl::Microseconds(random() % 30'000));
      viewer->Leave();
      Await([&] { return viewer->closed(); }, "the last read");
      const size_t seen = engine->steps();
      Await([&] { return (*video)->log().closed(); }, "the end");
      EXPECT_EQ(viewer->wrong(), "");
      const SessionId session = engine->SessionOfSeed(seed);
      if (session == 0) continue;  // had no place yet
      ++placed;
      // Its place is free in the turn of the scheduler that follows once the client has gone and the session's last
      // pass is done. The turn that was taken meanwhile may have submitted a batch, which is up to two of the engine's:
      // one a lane.
      const std::vector<WatchedEngine::Step> steps = engine->StepsFrom(0);
      const auto close = std::find_if(steps.begin(), steps.end(), [&](const WatchedEngine::Step& step) {
        return step.kind == WatchedEngine::Step::kClose && step.sessions[0] == session;
      });
      ASSERT_TRUE(close != steps.end()) << "its place was never given back";
      const auto of_it = [&](const WatchedEngine::Step& step) {
        return std::find(step.sessions.begin(), step.sessions.end(), session) != step.sessions.end();
      };
      const auto submit = [](const WatchedEngine::Step& step) { return step.kind == WatchedEngine::Step::kSubmit; };
      const auto submit_of_it = [&](const WatchedEngine::Step& step) { return submit(step) && of_it(step); };
      const auto done_of_it = [&](const WatchedEngine::Step& step) {
        return step.kind == WatchedEngine::Step::kDone && of_it(step);
      };
      const auto gone = std::min(close, steps.begin() + static_cast<std::ptrdiff_t>(seen));
      auto last_done = close;
      // Where the last one is missing, the close has overtaken its record.
      if (std::count_if(steps.begin(), close, submit_of_it) == std::count_if(steps.begin(), close, done_of_it)) {
        while (last_done != gone && !done_of_it(*std::prev(last_done))) --last_done;
      }
      EXPECT_LE(std::count_if(last_done, close, submit), 2);
      EXPECT_LE(std::count_if(gone, close, submit_of_it), 1);
      EXPECT_EQ(std::count_if(close, steps.end(), submit_of_it), 0) << "passes after its close";
    }
  };
  std::vector<std::thread> clients;
  for (int i = 0; i < kAtOnce; ++i) clients.emplace_back(client, i);
  for (std::thread& thread : clients) thread.join();
  EXPECT_GE(placed, kTries / kPlaced);
  EXPECT_EQ(engine->fake().open_sessions(), 0);
  EXPECT_EQ(engine->fake().passes_out_of_order(), 0);
}

// Everything at once, by chance; then the server ends in the midst of it.
TEST_F(Faults, EachAcceptedRequestEndsOnceAndItsChunksAreContiguous) {
  constexpr int kRequests = 600, kClients = 12;
  std::atomic<uint64_t> draws = 1;
  const auto chance = [&](double share) { return std::mt19937_64(draws++)() % 10'000 < share * 10'000; };
  Start({.max_sessions = 4,
         .delay = [&](const Pass&) { return absl::Microseconds(std::minstd_rand(draws++ * 104729)() % 500); },
         .fail_open = [&] { return chance(0.05) ? absl::InternalError("no memory") : absl::OkStatus(); },
         .fail =
             [&](const Pass&, const SessionSpec&) {
               return chance(0.005) ? absl::DataLossError("not a number") : absl::OkStatus();
             }},
        {.max_waiting = 4, .max_unread = absl::Milliseconds(300)});
  struct Case {
    std::shared_ptr<CheckedViewer> viewer;
    std::shared_ptr<Video> video;  // null: refused for good
  };
  std::vector<Case> cases(kRequests);
  std::atomic<int> next = 0, refused = 0;
  const auto client = [&](int number) {
    std::mt19937 random(number);
    for (int n; (n = next++) < kRequests;) {
      const auto reads = n % 40 == 0  ? CheckedViewer::Reads::kNever
                         : n % 5 == 0 ? CheckedViewer::Reads::kLate
                                      : CheckedViewer::Reads::kAtOnce;
      // Of those that never read, the first ones can end in no other way than that the server gives them up, unless a
      // fault comes first: they are live, long enough, end with their viewer, and nobody cancels them.
      const bool given_up = reads == CheckedViewer::Reads::kNever && n < kRequests / 2;
      Case& c = cases[n];
      absl::StatusOr<std::shared_ptr<Video>> video = absl::ResourceExhaustedError("not asked yet");
      while (absl::IsResourceExhausted(video.status())) {
        if (c.viewer != nullptr) {
          absl::SleepFor(absl::Milliseconds(2));
          ++refused;
        }
        c.viewer = std::make_shared<CheckedViewer>(reads);
        c.viewer->give_up_after = absl::Milliseconds(300);
        const double seconds = given_up ? 4 : 0.2 + static_cast<double>(random() % 40) / 10;
        video = Generate(n, seconds, c.viewer, n % 3 == 0 && !given_up,
                         n % 7 == 0 && !given_up ? Disconnect::kContinue : Disconnect::kCancel);
      }
      if (!video.ok()) {
        EXPECT_TRUE(absl::IsUnavailable(video.status())) << video.status();
        continue;
      }
      c.video = *video;
      // Others look on, from any block, and go again.
      const auto guest = std::make_shared<CheckedViewer>();
      if (n % 4 == 1) {
        EXPECT_TRUE(guest
                        ->Open(c.video, {.from_block = static_cast<int>(random() % c.video->plan().blocks()),
                                         .live_edge = n % 8 == 1})
                        .ok());
      }
      const uint32_t fate = given_up ? 4 : random() % 8;
      if (fate < 2) {
        absl::SleepFor(absl::Microseconds(random() % 20'000));
        c.viewer->Leave();
      } else if (fate == 2) {
        absl::SleepFor(absl::Microseconds(random() % 20'000));
        EXPECT_TRUE(studio->Cancel({}, c.video->name()).ok());
      } else if (fate != 3) {  // some do not wait before the next comes
        Await([&] { return c.video->log().closed(); }, "the end");
      }
      EXPECT_EQ(guest->wrong(), "");
    }
  };
  std::vector<std::thread> clients;
  for (int i = 0; i < kClients; ++i) clients.emplace_back(client, i);
  Await([&] { return next >= kRequests * 9 / 10; }, "most of the requests");
  const absl::Status down = absl::UnavailableError("the server is shutting down");
  studio->StopAdmission(down);
  studio->EndAll(down);
  for (std::thread& thread : clients) thread.join();

  std::map<absl::StatusCode, int> codes;
  int accepted = 0;
  for (const Case& c : cases) {
    EXPECT_EQ(c.viewer->wrong(), "");
    if (c.video == nullptr) continue;
    Await([&] { return c.video->log().closed(); }, "the end");
    ++accepted;
    const VideoInfo info = c.video->info();
    EXPECT_TRUE(IsEnd(info.state));
    ++codes[info.error.code()];
    // What is left of it is whole, whoever reads it.
    const auto late = std::make_shared<CheckedViewer>();
    ASSERT_TRUE(late->Open(c.video, {.follow = false}).ok());
    EXPECT_EQ(late->wrong(), "");
    EXPECT_EQ(late->ends(), 1);
    EXPECT_GE(late->blocks(), info.blocks - 1);
    if (info.state == State::kMade) {
      EXPECT_EQ(late->blocks(), c.video->plan().blocks());
    }
  }
  // Each one's end was counted once.
  int ends = 0;
  for (const auto& [code, count] : codes) ends += count;
  EXPECT_EQ(ends, accepted);
  Await([&] { return Ended() >= accepted; }, "the count of the last end");  // which follows the end of its log
  EXPECT_EQ(Ended(), accepted);
  // Each way to end was taken.
  EXPECT_GT(accepted, kRequests * 3 / 4);
  EXPECT_GT(refused, 0);
  for (absl::StatusCode code : {absl::StatusCode::kOk, absl::StatusCode::kCancelled, absl::StatusCode::kDataLoss,
                                absl::StatusCode::kInternal, absl::StatusCode::kAborted}) {
    EXPECT_GT(codes[code], 0) << absl::StatusCodeToString(code);
  }
  for (Case& c : cases) c.viewer->Leave();
  studio.reset();
}

}  // namespace
}  // namespace longtake::server
