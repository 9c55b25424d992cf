#include "bench/serving/simulation.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "common/percentile.h"
#include "common/playout.h"

namespace longtake::bench {
namespace {

using scheduler::SessionId;

scheduler::Options SettingsOf(const SimulationOptions& options, const PassTable& table,
                              std::shared_ptr<scheduler::Policy> policy) {
  server::StudioOptions studio = options.studio;
  if (studio.max_sessions < 1) studio.max_sessions = table.places;
  scheduler::Options settings = server::SchedulerOptions(studio);
  settings.policy = std::move(policy);
  return settings;
}

class Simulation : public scheduler::Listener {
 public:
  Simulation(const std::vector<Visitor>& trace, const PassTable& table, const SimulationOptions& options,
             std::shared_ptr<scheduler::Policy> policy)
      : trace_(trace),
        table_(table),
        options_(options),
        machine_(&table, &loop_, options.devices, options.lanes, options.studio.encoder_threads, options.seed),
        viewers_(trace.size()),
        scheduler_loop_(&loop_),
        scheduler_(SettingsOf(options, table, std::move(policy)), &scheduler_loop_, &machine_, this) {
    for (const Visitor& visitor : trace_) ++(visitor.live ? outcome_.live : outcome_.offline);
    failures_allowed_ = std::floor((1 - options.needed_continuity) * outcome_.live + 1e-9);
  }

  Outcome Run() {
    loop_.At(trace_.front().arrives, [this] { Arrive(0); });
    while (outcome_.whole && Step()) outcome_.whole = failures_ <= failures_allowed_;
    outcome_.prediction_error = scheduler_.stats().prediction_error;
    scheduler_.CancelAll(absl::CancelledError("it is decided"));
    scheduler_loop_.RunReady();
    while (Step()) {
    }
    Sum();
    return std::move(outcome_);
  }

  void OnWaiting(SessionId, int) override {}
  void OnAdmitted(SessionId) override {}
  void OnPass(SessionId session, const scheduler::PassReport& report) override {
    outcome_.pass_seconds[static_cast<size_t>(report.kind)] += report.device_seconds;
    ++outcome_.pass_count[static_cast<size_t>(report.kind)];
    if (report.kind != PassKind::kDecode) return;
    const size_t id = Number(session);
    Viewer& viewer = viewers_[id];
    const int latent = viewer.decoded++;
    const bool block_done = report.step == report.steps;
    // The video's first latent frame is one frame.
    const double frames = latent == 0 ? 1.0 / table_.frames_per_latent : 1;
    const double begin = report.step == 1 ? table_.encode_begin : 0;
    machine_.Encode(id, trace_[id].scale * (frames * table_.encode + begin),
                    [this, id, latent, block_done] { Encoded(id, latent, block_done); });
  }
  void OnBlock(SessionId, int) override {}
  void OnEnded(SessionId session, const absl::Status& status) override {
    viewers_[Number(session)].visit.done = status.ok();
  }

 private:
  struct Viewer {
    Visit visit;
    int decoded = 0;      // latent frames
    double read = 0;      // when the last chunk so far has been read
    bool failed = false;  // counts against continuity
    Playout playout;
  };

  scheduler::Request RequestOf(size_t i) const {
    const Visitor& visitor = trace_[i];
    scheduler::Request request;
    request.id = SessionId{i};
    request.delivery = visitor.live ? scheduler::Delivery::kLive : scheduler::Delivery::kOffline;
    request.block_latents = table_.Blocks(visitor.seconds);
    request.first_latent_seconds = 1 / table_.fps;
    request.latent_seconds = table_.latent_seconds();
    request.first_decode = 1.0 / table_.frames_per_latent;
    request.denoise_steps = table_.steps;
    request.latent_tokens = 1000 * visitor.scale;
    request.tenant = std::to_string(visitor.tenant);
    return request;
  }

  // The next event of the world or the scheduler's own timer, whichever is first.
  bool Step() {
    if (scheduler_loop_.wake() < loop_.next()) {
      loop_.AdvanceTo(scheduler_loop_.wake());
    } else if (!loop_.Step()) {
      return false;
    }
    scheduler_loop_.RunReady();
    return true;
  }

  void Fail(size_t i) {
    failures_ += trace_[i].live && !viewers_[i].failed;
    viewers_[i].failed = true;
  }

  void Arrive(size_t i) {
    if (!outcome_.whole) return;
    if (i + 1 < trace_.size()) loop_.At(trace_[i + 1].arrives, [this, i] { Arrive(i + 1); });
    Viewer& viewer = viewers_[i];
    scheduler::Request request = RequestOf(i);
    machine_.SetJob(i, trace_[i].scale, request.block_latents);
    const scheduler::Quote quote = scheduler_.Enter(std::move(request));
    viewer.visit.accepted = quote.ok();
    if (!quote.ok()) {
      Fail(i);
    } else if (trace_[i].live) {
      if (quote.first_chunk < absl::InfiniteDuration()) viewer.visit.quoted = absl::ToDoubleSeconds(quote.first_chunk);
      loop_.At(trace_[i].arrives + trace_[i].patience, [this, i] { LeaveIfNothingCame(i); });
    }
    if (i + 1 < trace_.size()) return;
    span_ = loop_.now() - trace_.front().arrives;
    outcome_.busy_share = machine_.busy_seconds() / span_;
    outcome_.video_seconds = video_seconds_ / span_;
  }

  void LeaveIfNothingCame(size_t i) {
    Viewer& viewer = viewers_[i];
    if (viewer.visit.first >= 0 || !outcome_.whole) return;
    viewer.visit.left = true;
    Fail(i);
    scheduler_.Cancel(SessionId{i}, absl::CancelledError("impatient"));
  }

  void Encoded(size_t i, int latent, bool block_done) {
    Viewer& viewer = viewers_[i];
    const double seconds = latent == 0 ? 1 / table_.fps : table_.latent_seconds();
    video_seconds_ += seconds;
    if (!trace_[i].slow) return Read(i, latent, block_done);
    // Chunks of one viewer are read one after the other.
    viewer.read = std::max(viewer.read, loop_.now()) + 0.5 * seconds;
    loop_.At(viewer.read, [this, i, latent, block_done] { Read(i, latent, block_done); });
  }

  void Read(size_t i, int latent, bool block_done) {
    Viewer& viewer = viewers_[i];
    Visit& visit = viewer.visit;
    if (visit.left) return;
    if (latent == 0) {
      visit.first = loop_.now();
      if (visit.first - trace_[i].arrives > options_.latest_first) Fail(i);
    }
    const absl::Duration until = absl::Seconds(1 / table_.fps + latent * table_.latent_seconds());
    // The picture is there with the first chunk, which is one frame; it begins to move when the first block is there.
    if (viewer.playout.started() || block_done) viewer.playout.Arrive(loop_.Now(), until);
    if (viewer.playout.stalls() > 0) Fail(i);
    scheduler_.Delivered(SessionId{i}, until);
  }

  void Sum() {
    std::vector<double> first, quote_over_actual;
    for (size_t i = 0; i < trace_.size(); ++i) {
      const Viewer& viewer = viewers_[i];
      Visit visit = viewer.visit;
      visit.stalls = viewer.playout.stalls();
      visit.stalled = absl::ToDoubleSeconds(viewer.playout.stalled());
      outcome_.visits.push_back(visit);
      if (!trace_[i].live) {
        outcome_.offline_done += visit.done;
        continue;
      }
      outcome_.admitted += visit.accepted;
      outcome_.refused += !visit.accepted;
      outcome_.left += visit.left;
      outcome_.stalled += visit.stalls > 0;
      outcome_.stall_seconds += visit.stalled;
      outcome_.smooth += visit.done && !viewer.failed;
      const double took = visit.first - trace_[i].arrives;
      if (visit.first >= 0) {
        first.push_back(took);
        outcome_.late += took > options_.latest_first;
      }
      if (visit.quoted < 0 || !outcome_.whole) continue;
      if (visit.first >= 0) {
        ++outcome_.quotes;
        outcome_.quotes_kept += took <= visit.quoted;
        quote_over_actual.push_back(visit.quoted / took);
      } else if (visit.left && trace_[i].patience > visit.quoted) {
        ++outcome_.quotes;  // it waited in vain
      }
    }
    outcome_.first_p50 = Percentile(first, 0.5);
    outcome_.first_p95 = Percentile(first, 0.95);
    outcome_.first_p99 = Percentile(first, 0.99);
    outcome_.quote_over_actual_p50 = Percentile(quote_over_actual, 0.5);
    outcome_.passes_per_batch =
        static_cast<double>(machine_.passes()) / std::max(1.0, static_cast<double>(machine_.batches()));
  }

  const std::vector<Visitor>& trace_;
  const PassTable& table_;
  const SimulationOptions& options_;
  EventLoop loop_;
  Machine machine_;
  std::vector<Viewer> viewers_;
  double failures_allowed_ = 0;  // of live viewers
  double failures_ = 0;
  double span_ = 0;           // seconds from the first arrival to the last
  double video_seconds_ = 0;  // made so far
  Outcome outcome_;
  scheduler::Loop scheduler_loop_;
  scheduler::Scheduler scheduler_;
};

}  // namespace

Outcome Simulate(const std::vector<Visitor>& trace, const PassTable& table, const SimulationOptions& options,
                 std::shared_ptr<scheduler::Policy> policy) {
  return Simulation(trace, table, options, std::move(policy)).Run();
}

}  // namespace longtake::bench
