// Many servers behind a balancer, and what decides how many: pods of a cluster in simulated time.
#ifndef LONGTAKE_BENCH_SERVING_FLEET_FLEET_H_
#define LONGTAKE_BENCH_SERVING_FLEET_FLEET_H_

#include <optional>
#include <vector>

#include "bench/serving/audience.h"
#include "bench/serving/fleet/autoscaler.h"
#include "bench/serving/fleet/pod.h"
#include "bench/serving/pass_table.h"
#include "bench/serving/trace.h"

namespace longtake::bench {

enum class Metric {
  kBacklog,      // backlog seconds of live videos, their sum over the target: the overlay autoscaled (KEDA)
  kBacklogPods,  // the same, each pod's own value against the target: the overlay autoscaled-hpa
  kLiveLoad,     // longtake_live_load_ratio, their sum over the target
  kRequests,     // requests that are not finished, their sum over the target
  kCpu,          // share of the cores in use, of type Resource
};

// Of backlog seconds what the manifests say, of the others one with which the day keeps the objective
// (docs/autoscaling.md).
double DefaultTarget(Metric metric);

enum class Workload {
  // Gives up the pod with the highest number. One that shuts down must be gone before its number returns.
  kStatefulSet,
  // Gives up a pod that is not ready, then the youngest: the overlay shared.
  kDeployment,
  // Gives up a pod that is not ready, then the one with the least backlog, which is its pod-deletion-cost.
  kDeploymentByCost,
};

enum class Balance {
  kRandom,  // a connection a request, to any pod that is listed: a Service of type ClusterIP
  kQuotes,  // the client asks two of them for a quote and takes the one that promises the earlier first chunk
};

struct FleetOptions {
  PodOptions pod;
  Workload workload = Workload::kStatefulSet;
  Balance balance = Balance::kRandom;
  int pods = 2;  // ready at the beginning; where nothing scales, until the end
  std::optional<ScalingOptions> scaling;
  Metric metric = Metric::kBacklog;
  double target = DefaultTarget(Metric::kBacklog);  // of the metric, a pod
  double scrape_seconds = 15;  // the interval of service-monitor.yaml; each pod at moments of its own
  double sync_seconds = 15;    // --horizontal-pod-autoscaler-sync-period: the controller's default
  double latest_first = 10;    // as SimulationOptions
  uint64_t seed = 1;           // of machines, scrapes, the balancer and who takes a video that was handed over
};

struct FleetOutcome : Attendance {
  double pod_seconds = 0;  // from each pod's creation until it is gone, up to the trace's end
  double span = 0;         // seconds from the trace's begin to its last arrival
  int most_pods = 0;       // that existed at a time
  int changes = 0;         // of the number of pods that is asked for
  struct Moment {
    double when = 0;
    int wanted = 0, ready = 0, existing = 0;
  };
  std::vector<Moment> timeline;  // every half minute
  double mean_pods() const { return span > 0 ? pod_seconds / span : 0; }
};

FleetOutcome SimulateFleet(const std::vector<Visitor>& trace, const PassTable& table, const FleetOptions& options);

}  // namespace longtake::bench

#endif  // LONGTAKE_BENCH_SERVING_FLEET_FLEET_H_
