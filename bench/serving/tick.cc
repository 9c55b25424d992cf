#include "bench/serving/tick.h"

#include <ctime>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "scheduler/scheduler.h"

namespace longtake::bench {
namespace {

class StillClock : public scheduler::Clock {
 public:
  absl::Duration Now() const override { return now; }
  absl::Duration now;
};

class HeldDevice : public scheduler::Device {
 public:
  absl::Status Open(scheduler::SessionId) override { return absl::OkStatus(); }
  void Close(scheduler::SessionId) override {}
  void Submit(std::vector<scheduler::Pass> passes, std::function<void(size_t, scheduler::PassOutcome)> done) override {
    count = passes.size();
    finish = std::move(done);
  }
  size_t count = 0;
  std::function<void(size_t, scheduler::PassOutcome)> finish;
};

class Reader : public scheduler::Listener {
 public:
  void OnWaiting(scheduler::SessionId, int) override {}
  void OnAdmitted(scheduler::SessionId) override {}
  void OnPass(scheduler::SessionId, const scheduler::PassReport&) override {}
  void OnBlock(scheduler::SessionId id, int) override { scheduler->ChunkDelivered(id); }
  void OnEnded(scheduler::SessionId, const absl::Status&) override {}
  scheduler::Scheduler* scheduler = nullptr;
};

// Completes the batch under way; false: there was none.
bool Finish(HeldDevice& device, StillClock& clock) {
  if (device.count == 0) return false;
  const size_t count = std::exchange(device.count, 0);
  const auto finish = std::exchange(device.finish, nullptr);
  clock.now += absl::Milliseconds(1 + count);
  for (size_t i = 0; i < count; ++i) finish(i, {absl::OkStatus(), 0.001});
  return true;
}

// Of this thread only: other programs may hold the processor meanwhile.
double CpuMicroseconds() {
  timespec spent = {};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &spent);
  return 1e6 * static_cast<double>(spent.tv_sec) + 1e-3 * static_cast<double>(spent.tv_nsec);
}

}  // namespace

double TickMicroseconds(int sessions) {
  StillClock clock;
  HeldDevice device;
  Reader reader;
  scheduler::Scheduler scheduler({.places = sessions, .max_waiting = sessions, .lead_high = absl::Seconds(20)}, &clock,
                                 &device, &reader);
  reader.scheduler = &scheduler;
  for (int i = 0; i < sessions; ++i) {
    const std::vector<int> blocks(100, 4);
    const absl::Status added = scheduler.Add({
        .id = static_cast<scheduler::SessionId>(i),
        .delivery = i % 2 == 0 ? scheduler::Delivery::kLive : scheduler::Delivery::kOffline,
        .block_latents = blocks,
        .denoise_steps = 4,
        .block_seconds = std::vector<double>(100, 1),
        .tenant = std::to_string(i % 5),
    });
    if (!added.ok()) return -1;
  }
  for (int i = 0; i < 200; ++i) Finish(device, clock);  // some are further than others
  constexpr int kTicks = 100;
  const double begin = CpuMicroseconds();
  for (int i = 0; i < kTicks; ++i) Finish(device, clock);
  const double spent = CpuMicroseconds() - begin;
  scheduler.CancelAll(absl::CancelledError("measured"));
  while (Finish(device, clock)) {
  }
  return spent / kTicks;
}

}  // namespace longtake::bench
