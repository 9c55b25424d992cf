#include "bench/serving/simulation.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "absl/status/status.h"

namespace longtake::bench {
namespace {

using scheduler::SessionId;

class Simulation : public scheduler::Listener {
 public:
  Simulation(const std::vector<Visitor>& trace, const CostTable& table, const SimulationOptions& options,
             std::shared_ptr<scheduler::Policy> policy)
      : trace_(trace),
        table_(table),
        device_(table, &loop_),
        viewers_(trace.size()),
        scheduler_({.places = table.places,
                    .live_places = table.places * 3 / 4,
                    .max_waiting = options.max_waiting,
                    .max_undelivered_chunks = 4,
                    .lead_high = options.cap_lead ? absl::Seconds(30) : absl::InfiniteDuration(),
                    .lead_low = options.cap_lead ? absl::Seconds(22) : absl::ZeroDuration(),
                    .max_live_load = options.max_live_load,
                    .policy = std::move(policy)},
                   &loop_, &device_, this) {}

  Outcome Run() {
    for (size_t i = 0; i < trace_.size(); ++i) loop_.At(trace_[i].arrives, [this, i] { Arrive(i); });
    const double last = trace_.back().arrives;
    bool measured = false;
    while (loop_.Step()) {
      if (!measured && loop_.now() >= last) {
        measured = true;
        AtTheEnd(last);
      }
      Wake();
    }
    Sum();
    return outcome_;
  }

  void OnWaiting(SessionId, int) override {}
  void OnAdmitted(SessionId) override {}
  void OnPass(SessionId id, const scheduler::PassReport& report) override {
    (trace_[id].live ? live_seconds_ : offline_seconds_) += report.device_seconds;
  }
  void OnBlock(SessionId id, int block) override {
    Viewer& viewer = viewers_[id];
    // Chunks of one viewer go out one after the other.
    viewer.written = std::max(viewer.written, loop_.now()) + trace_[id].write_seconds;
    loop_.At(viewer.written, [this, id, block] { Written(id, block); });
  }
  void OnEnded(SessionId id, const absl::Status& status) override {
    viewers_[id].done = status.ok();
    ended_.push_back(id);
  }

 private:
  struct Viewer {
    double first = -1;   // the first chunk's arrival
    double written = 0;  // when the last chunk so far has gone out
    double late = 0;     // seconds by which the picture stood still so far
    bool refused = false, left = false, done = false;
  };

  scheduler::Request RequestOf(size_t i) const {
    const Visitor& visitor = trace_[i];
    scheduler::Request request;
    request.id = i;
    request.delivery = visitor.live ? scheduler::Delivery::kLive : scheduler::Delivery::kOffline;
    const int blocks = std::max(1, static_cast<int>(std::lround(visitor.seconds / table_.block_video_seconds)));
    request.block_latents.assign(blocks, table_.block_latents);
    request.block_seconds.assign(blocks, table_.block_video_seconds);
    request.denoise_steps = table_.steps;
    request.latent_tokens = 1000 * visitor.scale;
    request.tenant = std::to_string(visitor.tenant);
    return request;
  }

  void Arrive(size_t i) {
    scheduler::Request request = RequestOf(i);
    device_.AddJob(i, trace_[i].scale, request.block_latents);
    if (!scheduler_.Add(std::move(request)).ok()) {
      viewers_[i].refused = true;
      device_.RemoveJob(i);
      return;
    }
    if (trace_[i].live) {
      loop_.At(trace_[i].arrives + trace_[i].patience, [this, i] {
        if (viewers_[i].first >= 0) return;
        viewers_[i].left = true;
        scheduler_.Cancel(i, absl::CancelledError("impatient"));
      });
    }
  }

  void Written(size_t i, int block) {
    Viewer& viewer = viewers_[i];
    const double now = loop_.now();
    if (block == 0) viewer.first = now;
    const double due = viewer.first + viewer.late + block * table_.block_video_seconds;
    // The picture waits for the chunk, and what comes after it is due so much later. A millisecond is no stall.
    if (now > due + 0.001) viewer.late += now - due;
    scheduler_.ChunkDelivered(i);
  }

  // Streams that rest are woken when the scheduler says so.
  void Wake() {
    for (SessionId id : ended_) device_.RemoveJob(id);
    ended_.clear();
    if (!device_.idle()) return;  // the batch's end comes first
    const absl::Duration next = scheduler_.Poll();
    if (next == absl::InfiniteDuration()) return;
    const double at = absl::ToDoubleSeconds(next) + 1e-9;
    if (wake_at_ > loop_.now() && wake_at_ <= at) return;
    wake_at_ = at;
    loop_.At(at, [this] { scheduler_.Poll(); });
  }

  void AtTheEnd(double last) {
    outcome_.span = last - trace_.front().arrives;
    outcome_.busy_share = device_.busy_seconds() / outcome_.span;
    outcome_.offline_of_leftover = offline_seconds_ / std::max(1e-9, outcome_.span - live_seconds_);
  }

  void Sum() {
    std::vector<double> first;
    for (size_t i = 0; i < trace_.size(); ++i) {
      const Viewer& viewer = viewers_[i];
      if (!trace_[i].live) {
        ++outcome_.offline;
        outcome_.offline_done += viewer.done;
        continue;
      }
      ++outcome_.live;
      outcome_.refused += viewer.refused;
      outcome_.left += viewer.left;
      outcome_.stalled += viewer.late > 0;
      outcome_.stall_seconds += viewer.late;
      outcome_.smooth += viewer.done && viewer.late == 0;
      if (viewer.first >= 0) first.push_back(viewer.first - trace_[i].arrives);
    }
    std::sort(first.begin(), first.end());
    if (!first.empty()) {
      outcome_.first_p50 = first[first.size() / 2];
      outcome_.first_p99 = first[std::min(first.size() - 1, first.size() * 99 / 100)];
    }
    const scheduler::Stats stats = scheduler_.stats();
    outcome_.quotes = stats.quotes;
    outcome_.quotes_kept = stats.quotes_kept;
    outcome_.prediction_error = stats.prediction_error;
    outcome_.passes_per_batch = static_cast<double>(device_.passes()) / static_cast<double>(device_.batches());
  }

  const std::vector<Visitor>& trace_;
  const CostTable& table_;
  EventLoop loop_;
  FakeDevice device_;
  std::vector<Viewer> viewers_;
  std::vector<SessionId> ended_;
  double live_seconds_ = 0, offline_seconds_ = 0;
  double wake_at_ = -1;
  Outcome outcome_;
  scheduler::Scheduler scheduler_;
};

}  // namespace

Outcome Simulate(const std::vector<Visitor>& trace, const CostTable& table, const SimulationOptions& options,
                 std::shared_ptr<scheduler::Policy> policy) {
  return Simulation(trace, table, options, std::move(policy)).Run();
}

}  // namespace longtake::bench
