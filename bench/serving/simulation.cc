#include "bench/serving/simulation.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/status/status.h"

namespace longtake::bench {
namespace {

class Simulation {
 public:
  Simulation(const std::vector<Visitor>& trace, const PassTable& table, const SimulationOptions& options,
             std::shared_ptr<scheduler::Policy> policy)
      : trace_(trace),
        audience_(&trace, &table, &loop_, options.latest_first),
        server_(&table, &loop_, options.server, std::move(policy), &audience_) {
    const auto live = std::count_if(trace_.begin(), trace_.end(), [](const Visitor& visitor) { return visitor.live; });
    failures_allowed_ = std::floor((1 - options.needed_continuity) * static_cast<double>(live) + 1e-9);
  }

  Outcome Run() {
    const std::vector<SimulatedServer*> servers = {&server_};
    loop_.At(trace_.front().arrives, [this] { Arrive(0); });
    while (outcome_.whole && Step(loop_, servers)) outcome_.whole = audience_.failures() <= failures_allowed_;
    outcome_.prediction_error = server_.stats().prediction_error;
    if (!outcome_.whole) audience_.Close();
    server_.CancelAll(absl::CancelledError("it is decided"));
    server_.RunReady();
    while (Step(loop_, servers)) {
    }
    static_cast<Attendance&>(outcome_) = audience_.Sum(outcome_.whole);
    const Machine& machine = server_.machine();
    outcome_.passes_per_batch =
        static_cast<double>(machine.passes()) / std::max(1.0, static_cast<double>(machine.batches()));
    outcome_.pass_seconds = server_.pass_seconds();
    outcome_.pass_count = server_.pass_count();
    return std::move(outcome_);
  }

 private:
  void Arrive(size_t visitor) {
    if (!outcome_.whole) return;
    if (visitor + 1 < trace_.size()) {
      loop_.At(trace_[visitor + 1].arrives, [this, visitor] { Arrive(visitor + 1); });
    }
    audience_.Send(visitor, &server_);
    if (visitor + 1 < trace_.size()) return;
    const double span = loop_.now() - trace_.front().arrives;
    outcome_.busy_share = server_.machine().busy_seconds() / span;
    outcome_.video_seconds = audience_.video_seconds() / span;
  }

  const std::vector<Visitor>& trace_;
  EventLoop loop_;
  Audience audience_;
  SimulatedServer server_;
  double failures_allowed_ = 0;  // of live viewers
  Outcome outcome_;
};

}  // namespace

Outcome Simulate(const std::vector<Visitor>& trace, const PassTable& table, const SimulationOptions& options,
                 std::shared_ptr<scheduler::Policy> policy) {
  return Simulation(trace, table, options, std::move(policy)).Run();
}

}  // namespace longtake::bench
