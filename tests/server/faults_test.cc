// Random faults behind the RPCs: clients that go at any moment, passes and places that fail, clients that do not read.
#include <algorithm>
#include <atomic>
#include <mutex>
#include <random>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/studio.h"
#include "spdlog/sinks/null_sink.h"
#include "tests/server/fake_engine.h"

namespace longtake::server {
namespace {

// A fake engine's calls in their order.
class WatchedEngine : public Engine {
 public:
  struct Step {
    enum Kind { kSubmit, kClose } kind;
    std::vector<SessionId> sessions;
  };

  explicit WatchedEngine(const FakeEngineOptions& options) : engine_(options) {}
  const ModelInfo& model() const override { return engine_.model(); }
  std::vector<MemoryRegion> memory() const override { return engine_.memory(); }
  std::vector<int> BlockLengths(int latents) const override { return engine_.BlockLengths(latents); }
  absl::StatusOr<SessionProgress> progress(SessionId id) const override { return engine_.progress(id); }
  absl::StatusOr<SessionId> OpenSession(const SessionSpec& spec) override {
    absl::StatusOr<SessionId> id = engine_.OpenSession(spec);
    const std::lock_guard lock(mutex_);
    if (id.ok()) sessions_[spec.seed] = *id;
    return id;
  }
  void CloseSession(SessionId id) override {
    engine_.CloseSession(id);
    const std::lock_guard lock(mutex_);
    steps_.push_back({Step::kClose, {id}});
  }
  void Submit(Lane lane, std::vector<Pass> passes, std::function<void(size_t, PassResult)> done) override {
    Step step{Step::kSubmit, {}};
    for (const Pass& pass : passes) step.sessions.push_back(pass.session);
    {
      const std::lock_guard lock(mutex_);
      steps_.push_back(std::move(step));
    }
    engine_.Submit(lane, std::move(passes), std::move(done));
  }

  size_t steps() const {
    const std::lock_guard lock(mutex_);
    return steps_.size();
  }
  std::vector<Step> StepsFrom(size_t first) const {
    const std::lock_guard lock(mutex_);
    return {steps_.begin() + static_cast<std::ptrdiff_t>(first), steps_.end()};
  }
  SessionId SessionOfSeed(uint64_t seed) const {  // 0: was not opened
    const std::lock_guard lock(mutex_);
    const auto found = sessions_.find(seed);
    return found == sessions_.end() ? 0 : found->second;
  }
  const FakeEngine& fake() const { return engine_; }

 private:
  mutable std::mutex mutex_;
  std::vector<Step> steps_ ABSL_GUARDED_BY(mutex_);
  std::map<uint64_t, SessionId> sessions_ ABSL_GUARDED_BY(mutex_);
  FakeEngine engine_;
};

// Checks one video's events as they come, and reads as slowly as it is told.
class CheckedSink : public EventSink {
 public:
  enum class Reads { kAtOnce, kLate, kNever };
  explicit CheckedSink(Reads reads) : reads_(reads) {}
  // After the video's end, while its studio lives: waits for the last chunk to be read.
  void Join() {
    if (reader_.joinable()) reader_.join();
  }

  void Send(v1::WatchVideoResponse event) override {
    const std::lock_guard lock(mutex_);
    if (ends_ > 0) Wrong("an event after the end");
    if (event.has_accepted()) {
      if (accepted_ || events_ > 0) Wrong("accepted is not the first event");
      accepted_ = true;
      const v1::VideoFormat& format = event.accepted().video().format();
      for (int frames : format.block_frame_counts()) blocks_.push_back(frames);
      frames_in_all_ = format.frame_count();
    } else if (event.has_waiting()) {
      if (chunks_ > 0 || progress_) Wrong("waiting after a place was given");
    } else if (event.has_finished()) {
      if (finished_) Wrong("finished twice");
      finished_ = true;
      if (event.finished().chunk_count() != chunks_ || event.finished().frame_count() != frames_)
        Wrong("finished counts wrong");
      if (frames_ != frames_in_all_) Wrong("finished before all frames");
    }
    ++events_;
  }
  void SendProgress(v1::WatchVideoResponse) override {
    const std::lock_guard lock(mutex_);
    if (ends_ > 0) Wrong("progress after the end");
    progress_ = true;
  }
  void SendChunk(std::vector<v1::WatchVideoResponse> parts, std::function<void()> delivered) override {
    {
      const std::lock_guard lock(mutex_);
      if (ends_ > 0 || finished_) Wrong("a chunk after the end");
      if (!accepted_) Wrong("a chunk before accepted");
      for (const v1::WatchVideoResponse& part : parts) {
        if (part.chunk().block() != block_ || part.chunk().first_frame() != frames_) Wrong("a gap between chunks");
      }
      const v1::Chunk& last = parts.back().chunk();
      frames_in_block_ += last.frame_count();
      const bool whole =
          block_ < static_cast<int>(blocks_.size()) && frames_in_block_ == blocks_[static_cast<size_t>(block_)];
      if (last.last_in_block() != whole) Wrong("a block of other frames than it should have");
      if (whole) {
        ++block_;
        frames_in_block_ = 0;
      }
      ++chunks_;
      frames_ += last.frame_count();
      if (reads_ == Reads::kNever) return;
    }
    if (reads_ == Reads::kAtOnce) return delivered();
    Join();
    reader_ = std::thread([delivered = std::move(delivered)] {
      absl::SleepFor(absl::Milliseconds(3));
      delivered();
    });
  }
  void GiveUp() override {}
  void End(const absl::Status& status) override {
    const std::lock_guard lock(mutex_);
    if (++ends_ > 1) Wrong("ended twice");
    if (status.ok() != finished_) Wrong("OK without finished, or the reverse");
    status_ = status;
  }

  int ends() const {
    const std::lock_guard lock(mutex_);
    return ends_;
  }
  absl::StatusCode code() const {
    const std::lock_guard lock(mutex_);
    return status_.code();
  }
  std::string wrong() const {
    const std::lock_guard lock(mutex_);
    return wrong_;
  }

 private:
  void Wrong(const char* what) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { absl::StrAppend(&wrong_, what, "; "); }

  const Reads reads_;
  mutable std::mutex mutex_;
  bool accepted_ ABSL_GUARDED_BY(mutex_) = false, progress_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  int events_ ABSL_GUARDED_BY(mutex_) = 0, ends_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t chunks_ ABSL_GUARDED_BY(mutex_) = 0, frames_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t frames_in_all_ ABSL_GUARDED_BY(mutex_) = 0;
  int block_ ABSL_GUARDED_BY(mutex_) = 0, frames_in_block_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<int> blocks_ ABSL_GUARDED_BY(mutex_);
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
  std::string wrong_ ABSL_GUARDED_BY(mutex_);
  std::thread reader_;  // of the strand, which runs one task at a time
};

class Faults : public testing::Test {
 protected:
  void Start(FakeEngineOptions engine_options, StudioOptions options) {
    engine_options.model = FakeModel();
    options.max_sessions = engine_options.max_sessions;
    options.max_wait = absl::InfiniteDuration();
    auto made = std::make_unique<WatchedEngine>(engine_options);
    engine = made.get();
    studio = std::make_unique<Studio>(options, std::move(made), &clock, &metrics, &logger);
  }
  absl::StatusOr<std::string> Begin(int64_t seed, double seconds, std::shared_ptr<EventSink> sink,
                                    bool offline = false) {
    const VideoSpec spec{.prompt = "a red ball", .seed = seed, .duration = absl::Seconds(seconds)};
    const DeliveryOptions options{.delivery = offline ? scheduler::Delivery::kOffline : scheduler::Delivery::kLive};
    absl::StatusOr<VideoPlan> plan = studio->Check(spec, options, {}, Purpose::kMake);
    EXPECT_TRUE(plan.ok()) << plan.status();
    return studio->Begin(*std::move(plan), "", absl::InfiniteDuration(), std::move(sink));
  }
  static void Await(const std::function<bool()>& condition, const char* what) {
    for (int i = 0; i < 20000; ++i) {
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
TEST_F(Faults, AThousandCancelsFreeTheirPlaceWithinOnePass) {
  constexpr int kTries = 1000, kAtOnce = 6;
  std::atomic<uint64_t> delays = 1;
  Start({.max_sessions = 4,
         .delay = [&](const Pass&) { return absl::Microseconds(std::minstd_rand(delays++ * 7919)() % 2000); }},
        {.max_waiting = kAtOnce});
  std::atomic<int> next = 0, placed = 0;
  const auto client = [&](int number) {
    std::mt19937 random(number);
    for (int n; (n = next++) < kTries;) {
      const uint64_t seed = 1000 + n;
      auto sink = std::make_shared<CheckedSink>(CheckedSink::Reads::kAtOnce);
      const absl::StatusOr<std::string> id = Begin(seed, 10, sink, n % 3 == 0);
      ASSERT_TRUE(id.ok()) << id.status();
      absl::SleepFor(absl::Microseconds(random() % 30'000));
      studio->Abandon(*id);
      const size_t seen = engine->steps();
      Await([&] { return sink->ends() == 1; }, "the end");
      EXPECT_EQ(sink->wrong(), "");
      const SessionId session = engine->SessionOfSeed(seed);
      if (session == 0) continue;  // had no place yet
      ++placed;
      // Its place is free before the second batch after the client has gone; the first may have been composed before,
      // with a pass of its own.
      const std::vector<WatchedEngine::Step> steps = engine->StepsFrom(0);
      const auto close = std::find_if(steps.begin(), steps.end(), [&](const WatchedEngine::Step& step) {
        return step.kind == WatchedEngine::Step::kClose && step.sessions[0] == session;
      });
      ASSERT_TRUE(close != steps.end()) << "its place was never given back";
      const auto its_own = [&](const WatchedEngine::Step& step) {
        return std::find(step.sessions.begin(), step.sessions.end(), session) != step.sessions.end();
      };
      const auto gone = std::min(close, steps.begin() + static_cast<std::ptrdiff_t>(seen));
      EXPECT_LE(std::count_if(gone, close, [](const auto& step) { return step.kind == WatchedEngine::Step::kSubmit; }),
                1);
      EXPECT_LE(std::count_if(gone, close, its_own), 1);
      EXPECT_EQ(std::count_if(close, steps.end(), its_own), 1) << "passes after its close";
    }
  };
  std::vector<std::thread> clients;
  for (int i = 0; i < kAtOnce; ++i) clients.emplace_back(client, i);
  for (std::thread& thread : clients) thread.join();
  EXPECT_GT(placed, kTries / 2);
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
    std::shared_ptr<CheckedSink> sink;
    bool accepted = false;
  };
  std::vector<Case> cases(kRequests);
  std::atomic<int> next = 0, refused = 0;
  const auto client = [&](int number) {
    std::mt19937 random(number);
    for (int n; (n = next++) < kRequests;) {
      const auto reads = n % 40 == 0  ? CheckedSink::Reads::kNever
                         : n % 5 == 0 ? CheckedSink::Reads::kLate
                                      : CheckedSink::Reads::kAtOnce;
      Case& c = cases[n];
      absl::StatusOr<std::string> id = absl::ResourceExhaustedError("not asked yet");
      while (absl::IsResourceExhausted(id.status())) {
        if (c.sink != nullptr) {
          EXPECT_EQ(c.sink->ends(), 0) << "a refused request was ended";
          absl::SleepFor(absl::Milliseconds(2));
          ++refused;
        }
        c.sink = std::make_shared<CheckedSink>(reads);
        id = Begin(n, 0.2 + static_cast<double>(random() % 40) / 10, c.sink, n % 3 == 0);
      }
      c.accepted = id.ok();
      if (!c.accepted) {
        EXPECT_TRUE(absl::IsUnavailable(id.status())) << id.status();
        continue;
      }
      if (random() % 3 == 0) {
        absl::SleepFor(absl::Microseconds(random() % 20'000));
        studio->Abandon(*id);
      } else if (random() % 4 != 0) {  // some do not wait before the next comes
        Await([&] { return c.sink->ends() > 0; }, "the end");
      }
    }
  };
  std::vector<std::thread> clients;
  for (int i = 0; i < kClients; ++i) clients.emplace_back(client, i);
  Await([&] { return next >= kRequests * 9 / 10; }, "most of the requests");
  const absl::Status down = absl::UnavailableError("the server is shutting down");
  studio->StopAdmission(down);
  studio->EndAll(down);
  for (std::thread& thread : clients) thread.join();
  for (const Case& c : cases) {
    if (c.accepted) Await([&] { return c.sink->ends() > 0; }, "the end");
    c.sink->Join();
  }
  studio.reset();

  std::map<absl::StatusCode, int> codes;
  int accepted = 0;
  for (const Case& c : cases) {
    EXPECT_EQ(c.sink->wrong(), "");
    EXPECT_EQ(c.sink->ends(), c.accepted ? 1 : 0);
    accepted += c.accepted;
    if (c.accepted) ++codes[c.sink->code()];
  }
  // Each way to end was taken.
  EXPECT_GT(accepted, kRequests * 3 / 4);
  EXPECT_GT(refused, 0);
  for (absl::StatusCode code : {absl::StatusCode::kOk, absl::StatusCode::kCancelled, absl::StatusCode::kDataLoss,
                                absl::StatusCode::kInternal, absl::StatusCode::kAborted}) {
    EXPECT_GT(codes[code], 0) << absl::StatusCodeToString(code);
  }
}

}  // namespace
}  // namespace longtake::server
