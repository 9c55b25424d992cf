// What /metrics tells. Names and units by the Prometheus conventions.
#ifndef LONGTAKE_SERVER_METRICS_H_
#define LONGTAKE_SERVER_METRICS_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/engine.h"
#include "scheduler/scheduler.h"

namespace longtake::server {

class Metrics {
 public:
  Metrics();
  ~Metrics();

  // Serves http://`listen`/metrics ("host:port", port 0: any free one) until destroyed. Returns the port.
  absl::StatusOr<int> Listen(const std::string& listen);

  // Read at each scrape; `owner` is held while it is read, and forgotten once it is gone.
  struct Sources {
    std::function<scheduler::Stats()> stats;
    std::function<std::vector<MemoryRegion>()> memory;
  };
  void Watch(std::shared_ptr<const Sources> sources);

  void Passed(scheduler::PassKind kind, double device_seconds);
  void ChunkDelivered(int64_t bytes, double seconds_of_video);
  void FirstChunk(double seconds);
  void Refused(const std::string& reason);  // "invalid" | "queue_full" | "unavailable"
  void Ended(const std::string& outcome);   // status code's name in lower case

  std::string Text() const;  // as /metrics would say it

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_METRICS_H_
