// Histories on a loop with its own thread, with clients on others, injected delays and random faults, checked after the
// fact: each accepted request ends exactly once, its blocks are contiguous, a cancelled one has no pass beyond those
// that were decided already, and every call of the device and the listener comes from the loop.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <deque>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "common/mutex.h"
#include "gtest/gtest.h"
#include "scheduler/scheduler.h"
#include "tests/scheduler/fake_device.h"

namespace longtake::scheduler {
namespace {

using Random = std::mt19937_64;

int Roll(Random& random, int n) { return static_cast<int>(random() % static_cast<uint64_t>(n)); }

void Delay(Random& random, int most_us) {
  std::this_thread::sleep_for(std::chrono::microseconds(Roll(random, most_us + 1)));
}

// Completes passes on threads of its own, in any order, late, and not always well.
class FaultyDevice : public Device {
 public:
  FaultyDevice(uint64_t seed, int faults_in_1000, std::vector<LaneInfo> lanes)
      : faults_(faults_in_1000), random_(seed), lanes_(std::move(lanes)), depth_(lanes_.size()) {
    for (uint64_t i = 0; i < 3; ++i) {
      workers_.emplace_back([this, own = Random(seed + i)]() mutable { Work(own); });
    }
  }
  ~FaultyDevice() override {
    {
      const MutexLock lock(mutex_);
      stopping_ = true;
    }
    changed_.NotifyAll();
    for (std::thread& worker : workers_) worker.join();
  }

  std::vector<LaneInfo> lanes() const override { return lanes_; }

  // Open, Close and Submit are called by one thread: no lock guards what only they touch.
  absl::Status Open(SessionId session, DeviceId device) override {
    CheckThread();
    Delay(random_, 50);
    if (Roll(random_, 1000) < faults_) return absl::ResourceExhaustedError("no memory");
    EXPECT_TRUE(open_.emplace(session, device).second);
    return absl::OkStatus();
  }
  void Close(SessionId session) override {
    CheckThread();
    Delay(random_, 50);
    EXPECT_EQ(open_.erase(session) + suspended_.erase(session), 1U);
    EXPECT_FALSE(UnderWay(session)) << "closed with a pass under way";
  }
  void Submit(LaneId lane, std::vector<Pass> passes, PassDone done) override {
    CheckThread();
    ASSERT_FALSE(passes.empty());
    const MutexLock lock(mutex_);
    EXPECT_LE(++depth_[Index(lane)], 2) << "a third batch";
    const auto left = std::make_shared<size_t>(passes.size());
    ++batches_;
    for (size_t i = 0; i < passes.size(); ++i) {
      const Pass& pass = passes[i];
      EXPECT_TRUE(Runs(lanes_[Index(lane)].role, pass.kind));
      const auto place = open_.find(pass.session);
      EXPECT_TRUE(place != open_.end() && place->second == lanes_[Index(lane)].device);
      EXPECT_TRUE(under_way_.emplace(pass.session, pass.kind == PassKind::kDecode).second) << "two passes in one lane";
      if (const auto found = cancelled_.find(pass.session); found != cancelled_.end()) {
        // Of each lane one batch may have been decided when the cancel arrived.
        EXPECT_LE(batches_, found->second + 2 * static_cast<int>(lanes_.size()))
            << "a pass after its session was cancelled";
      }
      jobs_.push_back({i, pass, done, lane, left});
    }
    std::shuffle(jobs_.begin(), jobs_.end(), random_);
    changed_.NotifyAll();
  }
  bool can_suspend() const override { return true; }
  void Suspend(SessionId session, Done done) override {
    CheckThread();
    EXPECT_FALSE(UnderWay(session));
    if (Roll(random_, 1000) < faults_) return done(absl::InternalError("no host memory"));
    EXPECT_EQ(open_.erase(session), 1U);
    suspended_.insert(session);
    done(absl::OkStatus());
  }
  void Resume(SessionId session, DeviceId device, Done done) override {
    CheckThread();
    EXPECT_EQ(suspended_.erase(session), 1U);
    open_.emplace(session, device);
    done(Roll(random_, 1000) < faults_ ? absl::InternalError("lost") : absl::OkStatus());
  }

  void Cancelled(SessionId session) {
    const MutexLock lock(mutex_);
    cancelled_.emplace(session, batches_);
  }
  bool empty() const { return open_.empty() && suspended_.empty(); }

 private:
  struct Job {
    size_t index = 0;
    Pass pass;
    PassDone done;
    LaneId lane{};
    std::shared_ptr<size_t> left;  // of its batch
  };

  void CheckThread() {
    if (thread_ == std::thread::id()) thread_ = std::this_thread::get_id();
    EXPECT_EQ(std::this_thread::get_id(), thread_);
  }
  bool UnderWay(SessionId session) {
    const MutexLock lock(mutex_);
    return under_way_.contains({session, false}) || under_way_.contains({session, true});
  }
  void Work(Random& random) {
    MutexLock lock(mutex_);
    while (true) {
      changed_.Wait(lock, [this] { return stopping_ || !jobs_.empty(); });
      if (jobs_.empty()) return;
      const Job job = std::move(jobs_.front());
      jobs_.pop_front();
      lock.Unlock();
      Delay(random, 200);
      const bool fails = Roll(random, 1000) < faults_;
      lock.Lock();
      under_way_.erase({job.pass.session, job.pass.kind == PassKind::kDecode});
      if (--*job.left == 0) --depth_[Index(job.lane)];
      lock.Unlock();
      job.done(job.index, {fails ? absl::DataLossError("injected") : absl::OkStatus(), 1e-4});
      lock.Lock();
    }
  }

  const int faults_;
  Random random_;
  const std::vector<LaneInfo> lanes_;
  std::map<SessionId, DeviceId> open_;
  std::set<SessionId> suspended_;
  std::thread::id thread_;  // that calls
  Mutex mutex_;
  ConditionVariable changed_;
  std::deque<Job> jobs_;
  std::set<std::pair<SessionId, bool>> under_way_;  // and whether in the decoder
  std::vector<int> depth_;                          // batches under way, by lane
  std::map<SessionId, int> cancelled_;              // and the number of the last batch before
  int batches_ = 0;
  bool stopping_ = false;
  std::vector<std::thread> workers_;
};

// What the listener was told, in order. Only the loop calls it, so what it writes needs no lock: under ThreadSanitizer
// that is tested, too.
class Recorder : public Listener {
 public:
  enum class What { kWaiting, kAdmitted, kPass, kBlock, kEnded };
  struct Event {
    What what = What::kWaiting;
    int number = 0;  // of a block
    absl::Status status;
  };

  void OnWaiting(SessionId id, int) override { stories[id].push_back({What::kWaiting}); }
  void OnAdmitted(SessionId id) override { stories[id].push_back({What::kAdmitted}); }
  void OnPass(SessionId id, const PassReport&) override { stories[id].push_back({What::kPass}); }
  void OnBlock(SessionId id, int block) override {
    stories[id].push_back({What::kBlock, block});
    if (!reads(id)) return;
    scheduler->Delivered(id, (block + 1) * kBlock);
    if (Number(id) % 5 == 0) scheduler->Consumed(id, block * kBlock, block % 2 == 0);
  }
  void OnEnded(SessionId id, const absl::Status& status) override {
    stories[id].push_back({What::kEnded, 0, status});
    ++ended;
  }

  // Each seventh client reads nothing.
  static bool reads(SessionId id) { return Number(id) % 7 != 0; }
  static constexpr absl::Duration kBlock = absl::Milliseconds(20);

  std::map<SessionId, std::vector<Event>> stories;
  std::atomic<int> ended = 0;
  Scheduler* scheduler = nullptr;
};

void CheckStory(SessionId id, const std::vector<Recorder::Event>& story, int blocks) {
  SCOPED_TRACE(Number(id));
  int ends = 0, made = 0, admitted = 0;
  for (const Recorder::Event& event : story) {
    EXPECT_EQ(ends, 0) << "something happened after the end";
    switch (event.what) {
      case Recorder::What::kWaiting:
        EXPECT_EQ(admitted, 0);
        break;
      case Recorder::What::kAdmitted:
        EXPECT_EQ(++admitted, 1);
        break;
      case Recorder::What::kPass:
        EXPECT_EQ(admitted, 1);
        break;
      case Recorder::What::kBlock:
        EXPECT_EQ(event.number, made++) << "chunks with a gap";
        break;
      case Recorder::What::kEnded:
        ++ends;
        if (event.status.ok()) {
          EXPECT_EQ(made, blocks);
        }
        break;
    }
  }
  EXPECT_EQ(ends, 1);
}

struct History {
  uint64_t seed = 0;
  int clients = 3, requests = 40;  // of each client
  int faults_in_1000 = 0, cancels_in_8 = 1;
};

// Returns how many sessions were cancelled.
int Play(const History& history) {
  const MonotonicClock clock;
  Loop loop(&clock);
  std::vector<LaneInfo> lanes = OneLane();
  if (history.seed % 2 == 0) lanes = OverlappingLanes(1 + static_cast<int>(history.seed % 4 / 2));
  FaultyDevice device(history.seed, history.faults_in_1000, std::move(lanes));
  Recorder recorder;
  loop.Start();
  Scheduler scheduler({.places = 5,
                       .live_places = 3,
                       .max_waiting = 8,
                       .max_batch_passes = 4,
                       .max_undelivered_blocks = 2,
                       .lead_high = absl::Milliseconds(30),
                       .lead_low = absl::Milliseconds(20),
                       .max_live_load = history.seed % 3 == 0 ? 0.9 : 100,
                       .max_unread = absl::Milliseconds(20)},
                      &loop, &device, &recorder);
  recorder.scheduler = &scheduler;
  Mutex mutex;
  std::map<SessionId, int> accepted;  // and its blocks
  std::set<SessionId> refused;
  std::atomic<int> cancels = 0;
  std::atomic<bool> over = false;
  std::thread watcher([&] {
    while (!over) {
      scheduler.stats();
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  });
  std::vector<std::thread> clients;
  for (int client = 0; client < history.clients; ++client) {
    clients.emplace_back([&, client] {
      Random random(1000 * history.seed + client);
      for (int i = 0; i < history.requests; ++i) {
        const SessionId id{static_cast<uint64_t>(1 + client + history.clients * i)};
        const int blocks = 1 + Roll(random, 4);
        Request request = {.id = id,
                           .delivery = Roll(random, 3) == 0 ? Delivery::kOffline : Delivery::kLive,
                           .block_latents = std::vector<int>(blocks, 1 + Roll(random, 2)),
                           .ladder = {{.steps = 1 + Roll(random, 3)}},
                           .first_latent_seconds = 0.01,
                           .latent_seconds = 0.01,
                           .tenant = std::to_string(Roll(random, 2))};
        scheduler.GetQuote(request, [](const Quote&) {});
        // Before Enter returns the session may have begun, and ended.
        const bool in = scheduler.Enter(std::move(request)).ok();
        {
          const MutexLock lock(mutex);
          if (in) {
            accepted[id] = blocks;
          } else {
            refused.insert(id);
          }
        }
        Delay(random, 2000);
        if (in && Roll(random, 8) < history.cancels_in_8) {
          scheduler.Cancel(id, absl::CancelledError("injected"));
          device.Cancelled(id);
          ++cancels;
        }
      }
    });
  }
  for (std::thread& client : clients) client.join();
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (recorder.ended < static_cast<int>(accepted.size()) && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  over = true;
  watcher.join();
  const Stats stats = scheduler.stats();  // orders what the recorder wrote before what is read here
  EXPECT_EQ(stats.running, 0);
  EXPECT_EQ(stats.waiting, 0);
  EXPECT_TRUE(device.empty());
  EXPECT_EQ(recorder.stories.size(), accepted.size());
  for (const auto& [id, blocks] : accepted) CheckStory(id, recorder.stories[id], blocks);
  for (SessionId id : refused) EXPECT_FALSE(recorder.stories.contains(id));
  return cancels;
}

TEST(History, EachAcceptedRequestEndsOnceUnderRandomFaults) {
  for (uint64_t seed = 0; seed < 12; ++seed) {
    SCOPED_TRACE(seed);
    Play({.seed = seed, .faults_in_1000 = seed % 4 == 0 ? 0 : 15});
  }
}

TEST(History, AThousandCancelsFreeTheirPlacesWithinTheBatchesUnderWay) {
  int cancels = 0;
  for (uint64_t seed = 100; cancels < 1000; ++seed) {
    SCOPED_TRACE(seed);
    cancels += Play({.seed = seed, .requests = 60, .cancels_in_8 = 8});
    if (testing::Test::HasFailure()) break;
  }
}

}  // namespace
}  // namespace longtake::scheduler
