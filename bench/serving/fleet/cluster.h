// The pods of one workload: what a StatefulSet's or a ReplicaSet's controller does when the number asked for changes,
// and what an autoscaler is shown of them.
#ifndef LONGTAKE_BENCH_SERVING_FLEET_CLUSTER_H_
#define LONGTAKE_BENCH_SERVING_FLEET_CLUSTER_H_

#include <memory>
#include <random>
#include <vector>

#include "bench/serving/fleet/fleet.h"
#include "bench/serving/fleet/pod.h"

namespace longtake::bench {

class Cluster {
 public:
  // Pointers outlive it.
  Cluster(const FleetOptions& options, const PassTable* table, EventLoop* loop, Audience* audience);

  // Asks for so many pods from now on.
  void Scale(int pods);
  int wanted() const { return wanted_; }

  // What the autoscaler's controller computes from the newest samples, with so many pods asked for. None: there are
  // none.
  std::optional<int> Recommend() const;

  // The pods that requests are sent to.
  std::vector<Pod*> Listed() const;
  // Those whose servers have something to do, or may get it.
  const std::vector<SimulatedServer*>& servers() const { return servers_; }
  // Takes up servers that have started and forgets those that have ended.
  void Refresh();

  int ready() const;
  int existing() const;     // gone ones not
  int status_pods() const;  // status.replicas of the workload
  double pod_seconds(double until) const;
  const std::vector<std::unique_ptr<Pod>>& pods() const { return pods_; }

 private:
  void Reconcile();
  void Create(int number);
  void ScrapeForever(Pod* pod);
  // The one that the workload gives up first; null: all that it may give up are going.
  Pod* Victim() const;
  PodValues Values() const;

  const FleetOptions options_;
  const PassTable* const table_;
  EventLoop* const loop_;
  Audience* const audience_;
  std::mt19937_64 random_;
  int wanted_ = 0, created_ = 0;
  std::vector<std::unique_ptr<Pod>> pods_;  // all there ever were
  std::vector<SimulatedServer*> servers_;
};

}  // namespace longtake::bench

#endif  // LONGTAKE_BENCH_SERVING_FLEET_CLUSTER_H_
