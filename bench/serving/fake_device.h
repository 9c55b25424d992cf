// A device under simulated time, whose batches take what a table says.
#ifndef LONGTAKE_BENCH_SERVING_FAKE_DEVICE_H_
#define LONGTAKE_BENCH_SERVING_FAKE_DEVICE_H_

#include <functional>
#include <map>
#include <queue>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "scheduler/scheduler.h"

namespace longtake::bench {

// Seconds. A session's scale multiplies the per-latent times; places are of the largest size.
struct CostTable {
  std::string name;
  double fixed = 0;    // of a batch
  double text = 0;     // of a prompt
  double denoise = 0;  // of a latent frame in a step; a commit costs the same
  double decode = 0;   // of a latent frame
  int steps = 4;
  int block_latents = 4;
  double block_video_seconds = 1;
  int places = 16;

  double BlockSeconds(double scale) const { return scale * block_latents * ((steps + 1) * denoise + decode); }
};

// Table by name; null: there is none.
const CostTable* FindTable(const std::string& name);

// Time that jumps from event to event; of equal times the one that was asked for first comes first.
class EventLoop : public scheduler::Clock {
 public:
  absl::Duration Now() const override { return absl::Seconds(now_); }
  double now() const { return now_; }
  void At(double when, std::function<void()> what) { events_.push({std::max(when, now_), ++asked_, std::move(what)}); }
  // False when there is nothing to come.
  bool Step() {
    if (events_.empty()) return false;
    Event event = events_.top();
    events_.pop();
    now_ = event.when;
    event.what();
    return true;
  }

 private:
  struct Event {
    double when = 0;
    uint64_t number = 0;
    std::function<void()> what;
    bool operator<(const Event& other) const { return std::pair(when, number) > std::pair(other.when, other.number); }
  };
  double now_ = 0;
  uint64_t asked_ = 0;
  std::priority_queue<Event> events_;
};

class FakeDevice : public scheduler::Device {
 public:
  FakeDevice(const CostTable& table, EventLoop* loop) : table_(table), loop_(loop) {}

  // Before the scheduler hears of the session, and after its end.
  void AddJob(scheduler::SessionId id, double scale, std::vector<int> block_latents) {
    jobs_[id] = {scale, std::move(block_latents), 0};
  }
  void RemoveJob(scheduler::SessionId id) { jobs_.erase(id); }

  absl::Status Open(scheduler::SessionId) override { return absl::OkStatus(); }
  void Close(scheduler::SessionId) override {}
  void Submit(std::vector<scheduler::Pass> passes, std::function<void(size_t, scheduler::PassOutcome)> done) override;

  bool idle() const { return !under_way_; }
  double busy_seconds() const { return busy_; }
  uint64_t batches() const { return batches_; }
  uint64_t passes() const { return passes_; }

 private:
  struct Job {
    double scale = 1;
    std::vector<int> block_latents;
    size_t block = 0;  // committed
  };
  const CostTable& table_;
  EventLoop* const loop_;
  std::map<scheduler::SessionId, Job> jobs_;
  bool under_way_ = false;
  double busy_ = 0;
  uint64_t batches_ = 0, passes_ = 0;
};

}  // namespace longtake::bench

#endif  // LONGTAKE_BENCH_SERVING_FAKE_DEVICE_H_
