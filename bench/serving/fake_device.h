// A device under simulated time, whose batches take what a table says.
#ifndef LONGTAKE_BENCH_SERVING_FAKE_DEVICE_H_
#define LONGTAKE_BENCH_SERVING_FAKE_DEVICE_H_

#include <algorithm>
#include <functional>
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
  double denoise = 0;  // of a latent frame in a step
  double commit = 0;   // of a latent frame
  double decode = 0;   // of a latent frame
  int steps = 4;
  int block_latents = 4;
  double block_video_seconds = 1;
  int places = 16;

  // Of a block whose passes have no company, without the fixed part.
  double BlockSeconds(double scale) const { return scale * block_latents * (steps * denoise + commit + decode); }
};

// Table by name; null: there is none.
const CostTable* FindTable(const std::string& name);

// Time that jumps from event to event; of equal times the one that was asked for first comes first.
class EventLoop : public Clock {
 public:
  absl::Duration Now() const override { return absl::Seconds(now_); }
  double now() const { return now_; }
  void At(double when, std::function<void()> what) {
    events_.push_back({std::max(when, now_), ++asked_, std::move(what)});
    std::push_heap(events_.begin(), events_.end());
  }
  // The moment of the next event; infinite: there is none.
  absl::Duration next() const {
    return events_.empty() ? absl::InfiniteDuration() : absl::Seconds(events_.front().when);
  }
  // To a moment before the next event.
  void AdvanceTo(absl::Duration now) { now_ = absl::ToDoubleSeconds(now); }
  // False when there is nothing to come.
  bool Step() {
    if (events_.empty()) return false;
    std::pop_heap(events_.begin(), events_.end());
    const Event event = std::move(events_.back());
    events_.pop_back();
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
  std::vector<Event> events_;  // a heap
};

// Sessions are numbered from 0.
class FakeDevice : public scheduler::Device {
 public:
  FakeDevice(const CostTable& table, EventLoop* loop, size_t sessions) : table_(table), loop_(loop), jobs_(sessions) {}

  void SetJob(size_t session, double scale, int block_latents) { jobs_[session] = {scale, block_latents}; }

  absl::Status Open(scheduler::SessionId, scheduler::DeviceId) override { return absl::OkStatus(); }
  void Close(scheduler::SessionId) override {}
  void Submit(scheduler::LaneId lane, std::vector<scheduler::Pass> passes, PassDone done) override;

  double busy_seconds() const { return busy_; }
  uint64_t batches() const { return batches_; }
  uint64_t passes() const { return passes_; }

 private:
  struct Job {
    double scale = 1;
    int block_latents = 1;
  };
  const CostTable& table_;
  EventLoop* const loop_;
  std::vector<Job> jobs_;
  double free_at_ = 0;  // when all that was submitted is done
  double busy_ = 0;
  uint64_t batches_ = 0, passes_ = 0;
};

}  // namespace longtake::bench

#endif  // LONGTAKE_BENCH_SERVING_FAKE_DEVICE_H_
