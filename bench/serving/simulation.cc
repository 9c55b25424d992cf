#include "bench/serving/simulation.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "absl/status/status.h"

namespace longtake::bench {
namespace {

using scheduler::SessionId;

double Percentile(std::vector<double>& values, double share) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  return values[std::min(values.size() - 1, static_cast<size_t>(share * static_cast<double>(values.size())))];
}

class Simulation : public scheduler::Listener {
 public:
  Simulation(const std::vector<Visitor>& trace, const CostTable& table, const SimulationOptions& options,
             std::shared_ptr<scheduler::Policy> policy)
      : trace_(trace),
        table_(table),
        device_(table, &loop_, trace.size()),
        viewers_(trace.size()),
        scheduler_loop_(&loop_),
        scheduler_({.places = table.places,
                    .live_places = table.places * 3 / 4,
                    .max_waiting = options.max_waiting,
                    .max_undelivered_blocks = 4,
                    .lead_high = absl::Seconds(options.lead_high),
                    .lead_low = absl::Seconds(options.lead_low),
                    .max_lead = absl::Seconds(options.lead_high),
                    .max_live_load = options.max_live_load,
                    .max_wait = absl::Seconds(options.max_wait),
                    .policy = std::move(policy)},
                   &scheduler_loop_, &device_, this) {
    for (const Visitor& visitor : trace_) ++(visitor.live ? outcome_.live : outcome_.offline);
    failures_allowed_ = std::floor((1 - options.needed_continuity) * outcome_.live + 1e-9);
  }

  Outcome Run() {
    loop_.At(trace_.front().arrives, [this] { Arrive(0); });
    while (outcome_.whole && Step()) outcome_.whole = failures_ <= failures_allowed_;
    scheduler_.CancelAll(absl::CancelledError("it is decided"));
    scheduler_loop_.RunReady();
    while (Step()) {
    }
    Sum();
    return outcome_;
  }

  void OnWaiting(SessionId, int) override {}
  void OnAdmitted(SessionId) override {}
  void OnPass(SessionId session, const scheduler::PassReport& report) override {
    const size_t id = Number(session);
    // Between two completions nothing is added or taken away, so the leftover is counted batch by batch.
    const double ended = absl::ToDoubleSeconds(report.ended);
    if (offline_ > 0) {
      offline_present_ += ended - std::max(last_pass_, offline_since_);
      (trace_[id].live ? live_seconds_ : offline_seconds_) += report.device_seconds;
    }
    last_pass_ = ended;
  }
  void OnBlock(SessionId session, int block) override {
    const size_t id = Number(session);
    Viewer& viewer = viewers_[id];
    if (block == 0 && trace_[id].live) Compare(viewer, loop_.now());
    // Chunks of one viewer go out one after the other.
    viewer.written = std::max(viewer.written, loop_.now()) + trace_[id].write_seconds;
    loop_.At(viewer.written, [this, id, block] { Written(id, block); });
  }
  void OnEnded(SessionId session, const absl::Status& status) override {
    const size_t id = Number(session);
    viewers_[id].done = status.ok();
    if (!trace_[id].live) --offline_;
  }

 private:
  struct Viewer {
    double first = -1;   // the first chunk's arrival
    double quoted = -1;  // when it was promised; below 0: was not
    double written = 0;  // when the last chunk so far has gone out
    double late = 0;     // seconds by which the picture stood still so far
    bool refused = false, left = false, done = false;
  };

  scheduler::Request RequestOf(size_t i) const {
    const Visitor& visitor = trace_[i];
    scheduler::Request request;
    request.id = SessionId{i};
    request.delivery = visitor.live ? scheduler::Delivery::kLive : scheduler::Delivery::kOffline;
    const int blocks = std::max(1, static_cast<int>(std::lround(visitor.seconds / table_.block_video_seconds)));
    request.block_latents.assign(blocks, table_.block_latents);
    request.first_latent_seconds = request.latent_seconds = table_.block_video_seconds / table_.block_latents;
    request.chunk_latents = 0;
    request.denoise_steps = table_.steps;
    request.latent_tokens = 1000 * visitor.scale;
    request.tenant = std::to_string(visitor.tenant);
    return request;
  }

  // The next event of the world or the scheduler's own timer, whichever is first.
  bool Step() {
    if (scheduler_loop_.wake() < loop_.next()) {
      loop_.AdvanceTo(std::max(loop_.Now(), scheduler_loop_.wake()));
    } else if (!loop_.Step()) {
      return false;
    }
    scheduler_loop_.RunReady();
    return true;
  }

  void Arrive(size_t i) {
    if (!outcome_.whole) return;
    if (i + 1 < trace_.size()) loop_.At(trace_[i + 1].arrives, [this, i] { Arrive(i + 1); });
    scheduler::Request request = RequestOf(i);
    device_.SetJob(i, trace_[i].scale, table_.block_latents);
    Viewer& viewer = viewers_[i];
    const scheduler::Quote quote = scheduler_.Enter(std::move(request));
    if (!quote.ok()) {
      viewer.refused = true;
      failures_ += trace_[i].live;
      return;
    }
    if (!trace_[i].live) {
      if (offline_++ == 0) offline_since_ = loop_.now();
    } else if (quote.first_chunk < absl::InfiniteDuration()) {
      viewer.quoted = loop_.now() + absl::ToDoubleSeconds(quote.first_chunk);
    }
    if (trace_[i].live) {
      loop_.At(trace_[i].arrives + trace_[i].patience, [this, i] {
        Viewer& impatient = viewers_[i];
        if (impatient.first >= 0 || !outcome_.whole) return;
        impatient.left = true;
        ++failures_;
        if (impatient.quoted < loop_.now()) Compare(impatient, loop_.now());
        scheduler_.Cancel(SessionId{i}, absl::CancelledError("impatient"));
      });
    }
    if (i + 1 == trace_.size()) {
      outcome_.span = loop_.now() - trace_.front().arrives;
      outcome_.busy_share = device_.busy_seconds() / outcome_.span;
    }
  }

  // `now`: the first chunk is decoded, or its viewer has given up.
  void Compare(const Viewer& viewer, double now) {
    if (viewer.quoted < 0) return;
    const double arrived = trace_[&viewer - viewers_.data()].arrives;
    ++outcome_.quotes;
    outcome_.quotes_kept += now <= viewer.quoted;
    quote_over_actual_.push_back((viewer.quoted - arrived) / (now - arrived));
  }

  void Written(size_t i, int block) {
    Viewer& viewer = viewers_[i];
    const double now = loop_.now();
    if (block == 0) viewer.first = now;
    const double due = viewer.first + viewer.late + block * table_.block_video_seconds;
    // The picture waits for the chunk, and what comes after it is due so much later. A millisecond is no stall.
    if (now > due + 0.001) {
      failures_ += trace_[i].live && viewer.late == 0;
      viewer.late += now - due;
    }
    scheduler_.Delivered(SessionId{i}, absl::Seconds((block + 1) * table_.block_video_seconds));
  }

  void Sum() {
    std::vector<double> first;
    for (size_t i = 0; i < trace_.size(); ++i) {
      const Viewer& viewer = viewers_[i];
      if (!trace_[i].live) {
        outcome_.offline_done += viewer.done;
        outcome_.offline_refused += viewer.refused;
        continue;
      }
      outcome_.refused += viewer.refused;
      outcome_.left += viewer.left;
      outcome_.stalled += viewer.late > 0;
      outcome_.stall_seconds += viewer.late;
      outcome_.smooth += viewer.done && viewer.late == 0;
      if (viewer.first >= 0) first.push_back(viewer.first - trace_[i].arrives);
    }
    outcome_.first_p50 = Percentile(first, 0.5);
    outcome_.first_p99 = Percentile(first, 0.99);
    outcome_.offline_of_leftover = offline_seconds_ / std::max(1e-9, offline_present_ - live_seconds_);
    outcome_.quote_over_actual_p50 = Percentile(quote_over_actual_, 0.5);
    outcome_.prediction_error = scheduler_.stats().prediction_error;
    outcome_.passes_per_batch = static_cast<double>(device_.passes()) / static_cast<double>(device_.batches());
  }

  const std::vector<Visitor>& trace_;
  const CostTable& table_;
  EventLoop loop_;
  FakeDevice device_;
  std::vector<Viewer> viewers_;
  std::vector<double> quote_over_actual_;
  double failures_allowed_ = 0;  // of live viewers
  double failures_ = 0;
  int offline_ = 0;  // offline requests accepted and not ended
  double last_pass_ = 0, offline_since_ = 0;
  double offline_present_ = 0;                     // seconds with an offline request
  double live_seconds_ = 0, offline_seconds_ = 0;  // of the device, within them
  Outcome outcome_;
  scheduler::Loop scheduler_loop_;
  scheduler::Scheduler scheduler_;
};

}  // namespace

Outcome Simulate(const std::vector<Visitor>& trace, const CostTable& table, const SimulationOptions& options,
                 std::shared_ptr<scheduler::Policy> policy) {
  return Simulation(trace, table, options, std::move(policy)).Run();
}

}  // namespace longtake::bench
