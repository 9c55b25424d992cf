#include "bench/serving/fleet/cluster.h"

#include <algorithm>
#include <tuple>

namespace longtake::bench {
namespace {

// A younger pod's CPU use counts once it was measured while the pod was ready: the controller's default.
constexpr double kCpuInitialization = 300;

double ValueOf(const Pod::Sample& sample, Metric metric) {
  switch (metric) {
    case Metric::kBacklog:
    case Metric::kBacklogPods:
      return sample.backlog_seconds;
    case Metric::kLiveLoad:
      return sample.live_load;
    case Metric::kRequests:
      return sample.requests;
    case Metric::kCpu:
      return sample.used.value_or(0);
  }
  return 0;
}

}  // namespace

Cluster::Cluster(const FleetOptions& options, const PassTable* table, EventLoop* loop, Audience* audience)
    : options_(options), table_(table), loop_(loop), audience_(audience), random_(options.seed) {
  Scale(options.pods);
}

void Cluster::Scale(int pods) {
  wanted_ = pods;
  Reconcile();
}

void Cluster::Reconcile() {
  if (options_.workload == Workload::kStatefulSet) {
    for (int number = 0; number < wanted_; ++number) {
      const bool there = std::any_of(pods_.begin(), pods_.end(),
                                     [&](const auto& pod) { return pod->number() == number && !pod->gone(); });
      if (!there) Create(number);
    }
  }
  const auto staying = [this] {
    return std::count_if(pods_.begin(), pods_.end(), [](const auto& pod) { return !pod->terminating(); });
  };
  while (options_.workload != Workload::kStatefulSet && staying() < wanted_) Create(created_);
  while (Pod* victim = Victim()) victim->Terminate();
}

Pod* Cluster::Victim() const {
  int staying = 0;
  Pod* first = nullptr;
  // A Deployment gives up the pod with the lowest rank.
  const auto rank = [this](const Pod& pod) {
    const bool by_cost = options_.workload == Workload::kDeploymentByCost && pod.sample().has_value();
    const double cost = by_cost ? pod.sample()->backlog_seconds : 0;
    return std::tuple(pod.running(), pod.ready(), cost, -pod.created(), -pod.number());
  };
  for (const auto& pod : pods_) {
    if (pod->terminating()) continue;
    ++staying;
    if (options_.workload == Workload::kStatefulSet) {
      if (pod->number() >= wanted_ && (first == nullptr || pod->number() > first->number())) first = pod.get();
    } else if (first == nullptr || rank(*pod) < rank(*first)) {
      first = pod.get();
    }
  }
  if (options_.workload == Workload::kStatefulSet) return first;
  return staying > wanted_ ? first : nullptr;
}

void Cluster::Create(int number) {
  PodOptions options = options_.pod;
  // Each pod's machine has noise of its own, the same whatever scales the fleet.
  options.server.seed = 1000 * options_.seed + created_;
  const bool started = loop_->now() == 0;
  ++created_;
  pods_.push_back(std::make_unique<Pod>(number, options, table_, loop_, audience_, started, [this] {
    Refresh();
    Reconcile();
  }));
  const double first = options_.scrape_seconds * static_cast<double>(random_() >> 11) * 0x1p-53;
  loop_->At(loop_->now() + first, [this, pod = pods_.back().get()] { ScrapeForever(pod); });
  Refresh();
}

void Cluster::ScrapeForever(Pod* pod) {
  if (pod->gone()) return;
  pod->Scrape();
  loop_->At(loop_->now() + options_.scrape_seconds, [this, pod] { ScrapeForever(pod); });
}

void Cluster::Refresh() {
  servers_.clear();
  for (const auto& pod : pods_) {
    SimulatedServer* const server = pod->server();
    if (server != nullptr && (!pod->gone() || server->busy())) servers_.push_back(server);
  }
}

PodValues Cluster::Values() const {
  PodValues values;
  const bool cpu = options_.metric == Metric::kCpu;
  // Of a pod whose CPU use is known: whether it counts.
  const auto settled = [this](const Pod& pod) {
    const bool old = loop_->now() >= pod.running_since() + kCpuInitialization;
    return pod.ready() && (old || pod.sample()->when >= pod.ready_since() + options_.scrape_seconds);
  };
  for (const auto& pod : pods_) {
    if (pod->terminating()) continue;
    const bool known = pod->sample().has_value() && (!cpu || pod->sample()->used.has_value());
    if (!pod->running() || (known && cpu && !settled(*pod))) {
      ++values.unready;
    } else if (!known) {
      ++values.missing;
    } else {
      values.known.push_back(ValueOf(*pod->sample(), options_.metric));
    }
  }
  return values;
}

std::optional<int> Cluster::Recommend() const {
  const double target = options_.target;
  if (options_.metric == Metric::kCpu) return PodsForValues(Values(), target, std::max(1.0, target), wanted_);
  if (options_.metric == Metric::kBacklogPods) return PodsForValues(Values(), target, target, wanted_);
  double total = 0;
  bool any = false;
  for (const auto& pod : pods_) {
    if (pod->gone() || !pod->sample().has_value()) continue;
    any = true;
    total += ValueOf(*pod->sample(), options_.metric);
  }
  if (!any) return std::nullopt;
  return PodsForTotal(total, target, status_pods());
}

std::vector<Pod*> Cluster::Listed() const {
  std::vector<Pod*> listed;
  for (const auto& pod : pods_) {
    if (pod->listed()) listed.push_back(pod.get());
  }
  return listed;
}

int Cluster::ready() const {
  return static_cast<int>(std::count_if(pods_.begin(), pods_.end(), [](const auto& pod) { return pod->ready(); }));
}

int Cluster::existing() const {
  return static_cast<int>(std::count_if(pods_.begin(), pods_.end(), [](const auto& pod) { return !pod->gone(); }));
}

int Cluster::status_pods() const {
  if (options_.workload == Workload::kStatefulSet) return existing();
  return static_cast<int>(
      std::count_if(pods_.begin(), pods_.end(), [](const auto& pod) { return !pod->terminating(); }));
}

double Cluster::pod_seconds(double until) const {
  double sum = 0;
  for (const auto& pod : pods_) {
    const double end = pod->gone() ? std::min(pod->gone_at(), until) : until;
    sum += std::max(0.0, end - pod->created());
  }
  return sum;
}

}  // namespace longtake::bench
