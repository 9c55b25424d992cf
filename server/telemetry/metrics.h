// What /metrics tells. Names and units by the Prometheus conventions.
#ifndef LONGTAKE_SERVER_TELEMETRY_METRICS_H_
#define LONGTAKE_SERVER_TELEMETRY_METRICS_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "scheduler/scheduler.h"

namespace longtake::server {

class Metrics {
 public:
  Metrics();
  ~Metrics();

  // Of videos that are watched while they are made.
  struct Viewers {
    int undisturbed = 0, stalled = 0;  // so far
  };

  // Read at each scrape; `owner` is held while it is read, and forgotten once it is gone.
  struct Sources {
    std::function<scheduler::Stats()> stats;
    std::function<Viewers()> viewers;
    std::function<std::vector<MemoryRegion>()> memory;
    std::function<SessionMoves()> moves;
  };
  void Watch(std::shared_ptr<const Sources> sources);

  void Passed(PassKind kind, double device_seconds);
  void Batch(size_t passes, int64_t tokens);
  void ChunkDelivered(int64_t bytes, double seconds_of_video, bool stalled);
  // A block was made. `device_seconds` of its passes; `reduced`: with fewer steps than the model's.
  void BlockMade(double seconds_of_video, double device_seconds, bool reduced);
  void FirstChunk(double seconds);
  void FirstChunkQuoted(double quoted_seconds, double actual_seconds);
  void Slack(double seconds);               // of a live video, sampled
  void Refused(const std::string& reason);  // "invalid" | "queue_full" | "long_wait" | "unavailable"
  void Ended(const std::string& outcome);   // status code's name in lower case
  void Watched(bool stalled);               // a viewer of a live video whose picture had started has gone

  std::string Text() const;  // in Prometheus' text format

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_TELEMETRY_METRICS_H_
