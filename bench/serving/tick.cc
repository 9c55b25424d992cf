#include "bench/serving/tick.h"

#include <ctime>
#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "scheduler/scheduler.h"

namespace longtake::bench {
namespace {

class StillClock : public Clock {
 public:
  absl::Duration Now() const override { return now; }
  absl::Duration now;
};

class HeldDevice : public scheduler::Device {
 public:
  absl::Status Open(scheduler::SessionId, scheduler::DeviceId) override { return absl::OkStatus(); }
  void Close(scheduler::SessionId) override {}
  void Submit(scheduler::LaneId, std::vector<scheduler::Pass> passes, PassDone done) override {
    batches.emplace_back(passes.size(), std::move(done));
  }
  std::deque<std::pair<size_t, PassDone>> batches;  // under way, and their passes
};

class Reader : public scheduler::Listener {
 public:
  void OnWaiting(scheduler::SessionId, int) override {}
  void OnAdmitted(scheduler::SessionId) override {}
  void OnPass(scheduler::SessionId, const scheduler::PassReport&) override {}
  void OnBlock(scheduler::SessionId id, int block) override { scheduler->Delivered(id, absl::Seconds(block + 1)); }
  void OnEnded(scheduler::SessionId, const absl::Status&) override {}
  scheduler::Scheduler* scheduler = nullptr;
};

// Completes the oldest batch under way; false: there was none.
bool Finish(HeldDevice& device, StillClock& clock, scheduler::Loop& loop) {
  if (device.batches.empty()) return false;
  const auto [count, finish] = std::move(device.batches.front());
  device.batches.pop_front();
  clock.now += absl::Milliseconds(1 + count);
  for (size_t i = 0; i < count; ++i) finish(i, {absl::OkStatus(), 0.001});
  loop.RunReady();
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
  scheduler::Loop loop(&clock);
  scheduler::Scheduler scheduler({.places = sessions, .max_waiting = sessions, .lead_high = absl::Seconds(20)}, &loop,
                                 &device, &reader);
  reader.scheduler = &scheduler;
  for (int i = 0; i < sessions; ++i) {
    const std::vector<int> blocks(100, 4);
    const scheduler::Quote quote = scheduler.Enter({
        .id = static_cast<scheduler::SessionId>(i),
        .delivery = i % 2 == 0 ? scheduler::Delivery::kLive : scheduler::Delivery::kOffline,
        .block_latents = blocks,
        .ladder = {{.steps = 4}},
        .first_latent_seconds = 0.25,
        .latent_seconds = 0.25,
        .chunk_latents = 0,
        .tenant = std::to_string(i % 5),
    });
    if (!quote.ok()) return -1;
  }
  for (int i = 0; i < 200; ++i) Finish(device, clock, loop);  // some are further than others
  constexpr int kTicks = 100;
  const double begin = CpuMicroseconds();
  for (int i = 0; i < kTicks; ++i) Finish(device, clock, loop);
  const double spent = CpuMicroseconds() - begin;
  scheduler.CancelAll(absl::CancelledError("measured"));
  loop.RunReady();
  while (Finish(device, clock, loop)) {
  }
  return spent / kTicks;
}

}  // namespace longtake::bench
