// What is read at each scrape, not kept: gauges, and counters that the scheduler and the engine keep.
#ifndef LONGTAKE_SERVER_TELEMETRY_GAUGES_H_
#define LONGTAKE_SERVER_TELEMETRY_GAUGES_H_

#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>

#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "common/build_info.h"
#include "common/mutex.h"
#include "server/telemetry/metrics.h"

namespace longtake::server {

// Thread-safe.
class Gauges : public prometheus::Collectable {
 public:
  explicit Gauges(BuildInfo build) : build_(std::move(build)) {}

  // Before it, and when the sources are gone, everything is 0.
  void Watch(const std::shared_ptr<const Metrics::Sources>& sources);
  // Without them all are 0.
  void WatchConnections(std::function<Metrics::Connections()> connections);
  std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  const BuildInfo build_;
  mutable Mutex mutex_;
  std::weak_ptr<const Metrics::Sources> sources_ ABSL_GUARDED_BY(mutex_);
  std::function<Metrics::Connections()> connections_ ABSL_GUARDED_BY(mutex_) = [] { return Metrics::Connections(); };
};

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_TELEMETRY_GAUGES_H_
