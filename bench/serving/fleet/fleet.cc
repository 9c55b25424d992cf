#include "bench/serving/fleet/fleet.h"

#include <algorithm>
#include <deque>
#include <random>

#include "bench/serving/fleet/cluster.h"

namespace longtake::bench {
namespace {

constexpr double kTimelineSeconds = 30;

// Servers that share a store look this often for videos that another one has left, and take so many of them at a look
// (docs/servers.md).
constexpr double kLookSeconds = 1;
constexpr int kTakenAtOnce = 2;

class Fleet {
 public:
  Fleet(const std::vector<Visitor>& trace, const PassTable& table, const FleetOptions& options)
      : trace_(trace),
        options_(options),
        balancer_(options.seed),
        first_taker_(options.seed),
        audience_(&trace, &table, &loop_, options.latest_first, [this](size_t visitor) { HandOver(visitor); }),
        cluster_(options, &table, &loop_, &audience_) {
    if (options.scaling.has_value()) autoscaler_.emplace(*options.scaling);
  }

  FleetOutcome Run() {
    outcome_.span = trace_.back().arrives;
    loop_.At(trace_.front().arrives, [this] { Arrive(0); });
    loop_.At(0, [this] { Note(); });
    if (autoscaler_.has_value()) loop_.At(options_.sync_seconds / 2, [this] { Sync(); });
    while (!over_ || Busy() || !orphans_.empty()) Step(loop_, cluster_.servers());
    static_cast<Attendance&>(outcome_) = audience_.Sum(/*whole=*/true);
    outcome_.pod_seconds = cluster_.pod_seconds(outcome_.span);
    return std::move(outcome_);
  }

 private:
  bool Busy() const {
    return std::any_of(cluster_.servers().begin(), cluster_.servers().end(),
                       [](const SimulatedServer* server) { return server->busy(); });
  }

  void Arrive(size_t visitor) {
    if (visitor + 1 < trace_.size()) {
      loop_.At(trace_[visitor + 1].arrives, [this, visitor] { Arrive(visitor + 1); });
    } else {
      over_ = true;
    }
    if (SimulatedServer* server = Choose(visitor)) return audience_.Send(visitor, server);
    audience_.TurnAway(visitor, "no_server");
  }

  void HandOver(size_t visitor) {
    if (orphans_.empty()) loop_.At(loop_.now() + kLookSeconds, [this] { TakeOver(); });
    orphans_.push_back(visitor);
  }

  // The servers look one after the other. Which of them looks first is a matter of chance.
  void TakeOver() {
    std::vector<Pod*> takers = cluster_.Listed();
    std::shuffle(takers.begin(), takers.end(), first_taker_);
    for (Pod* taker : takers) {
      for (int taken = 0; taken < kTakenAtOnce && !orphans_.empty(); ++taken) {
        const size_t visitor = orphans_.front();
        orphans_.pop_front();
        audience_.Move(visitor, taker->server());
      }
    }
    if (!orphans_.empty()) loop_.At(loop_.now() + kLookSeconds, [this] { TakeOver(); });
  }

  SimulatedServer* Choose(size_t visitor) {
    const std::vector<Pod*> pods = cluster_.Listed();
    if (pods.empty()) return nullptr;
    const auto any = [this](size_t count) {
      return static_cast<size_t>(static_cast<double>(count) * static_cast<double>(balancer_() >> 11) * 0x1p-53);
    };
    const size_t first = any(pods.size());
    if (options_.balance == Balance::kRandom || pods.size() == 1) return pods[first]->server();
    size_t second = any(pods.size() - 1);
    second += second >= first ? 1 : 0;
    const scheduler::Quote a = pods[first]->server()->GetQuote(visitor, trace_[visitor]),
                           b = pods[second]->server()->GetQuote(visitor, trace_[visitor]);
    return pods[b.first_chunk < a.first_chunk ? second : first]->server();
  }

  void Sync() {
    const int pods = autoscaler_->Next(loop_.now(), cluster_.wanted(), cluster_.Recommend());
    if (pods != cluster_.wanted()) {
      outcome_.changes += loop_.now() <= outcome_.span ? 1 : 0;
      cluster_.Scale(pods);
    }
    if (!over_) loop_.At(loop_.now() + options_.sync_seconds, [this] { Sync(); });
  }

  void Note() {
    cluster_.Refresh();
    outcome_.timeline.push_back({loop_.now(), cluster_.wanted(), cluster_.ready(), cluster_.existing()});
    outcome_.most_pods = std::max(outcome_.most_pods, cluster_.existing());
    if (!over_) loop_.At(loop_.now() + kTimelineSeconds, [this] { Note(); });
  }

  const std::vector<Visitor>& trace_;
  const FleetOptions options_;
  std::mt19937_64 balancer_;  // drawn from for visitors only, so that fleets of one size send them to the same servers
  std::mt19937_64 first_taker_;
  std::deque<size_t> orphans_;  // visitors whose videos a server has handed over and none has taken yet
  EventLoop loop_;
  Audience audience_;
  Cluster cluster_;
  std::optional<Autoscaler> autoscaler_;
  FleetOutcome outcome_;
  bool over_ = false;  // nobody comes any more
};

}  // namespace

double DefaultTarget(Metric metric) {
  switch (metric) {
    case Metric::kBacklog:
    case Metric::kBacklogPods:
      return 15;
    case Metric::kLiveLoad:
      return 0.4;
    case Metric::kRequests:
      return 6;
    case Metric::kCpu:
      return 0.8;
  }
  return 1;
}

FleetOutcome SimulateFleet(const std::vector<Visitor>& trace, const PassTable& table, const FleetOptions& options) {
  return trace.empty() ? FleetOutcome() : Fleet(trace, table, options).Run();
}

}  // namespace longtake::bench
