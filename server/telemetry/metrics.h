// What /metrics says. Names and units by the Prometheus conventions; docs/metrics.md says what each counts. All series
// whose labels are known are there from the first scrape, for a rate needs the zero before the first event.
#ifndef LONGTAKE_SERVER_TELEMETRY_METRICS_H_
#define LONGTAKE_SERVER_TELEMETRY_METRICS_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "common/build_info.h"
#include "engine/engine.h"
#include "scheduler/scheduler.h"

namespace longtake::server {

// What a viewer of a live video saw by the time it left.
enum class ViewerOutcome {
  kSmooth,   // its first chunk came as promised, and its picture never stood still
  kStalled,  // its picture stood still
  kLate,     // its first chunk came later than promised, or the viewer was gone after that moment without one
  kCut,      // the video failed before its end
};

// What came of asking the policy about a request.
enum class PolicyOutcome { kAllowed, kRefused, kFailed };

class Metrics {
 public:
  explicit Metrics(const BuildInfo& build = {});
  ~Metrics();

  // Of videos that are watched while they are made.
  struct Viewers {
    int undisturbed = 0, stalled = 0;  // so far
  };

  // Read at each scrape; held while it is read, and forgotten once its owner has let it go.
  struct Sources {
    std::string model, numerics_id;
    std::function<scheduler::Stats()> stats;
    std::function<Viewers()> viewers;
    std::function<std::vector<MemoryRegion>()> memory;
    std::function<SessionMoves()> moves;
  };
  void Watch(std::shared_ptr<const Sources> sources);

  // Of the ports for videos.
  struct Connections {
    int open = 0;
    uint64_t closed = 0, turned_away = 0;  // so far: idle ones to make room; new ones for want of room
  };
  // Read at each scrape. Once, before the first.
  void WatchConnections(std::function<Connections()> connections);

  void Passed(PassKind kind, double device_seconds);
  void Batch(size_t passes, int64_t tokens);
  void ChunkSent(int64_t bytes, double seconds_of_video);
  void Stalled(int stalls);  // of viewers of live videos
  // A block was made. `device_seconds` of its passes; `reduced`: with fewer steps than the model's.
  void BlockMade(double seconds_of_video, double device_seconds, bool reduced);
  void FirstChunk(double seconds);
  void FirstChunkQuoted(double quoted_seconds, double actual_seconds);
  void Slack(double seconds);  // of a live video, sampled
  // The reasons that Refused will have, in lower case; each counts from 0.
  void SetRefusalReasons(const std::vector<std::string>& reasons);
  void Refused(const std::string& reason);
  void Ended(absl::StatusCode outcome);
  void ViewerLeft(ViewerOutcome outcome);
  void StoreFailed();
  // As SetRefusalReasons and Refused, of calls beyond their tenant's quota.
  void SetQuotas(const std::vector<std::string>& quotas);
  void QuotaExceeded(const std::string& quota);
  // Quotas' counters of all servers have answered, or this server's own count for now.
  void QuotasExchanged(bool answered);
  // `seconds`: from the question to its answer.
  void PolicyAnswered(PolicyOutcome outcome, double seconds);

  // Spans of traces that the collector has taken, and those that it has not.
  void SpansSent(size_t spans);
  void SpansDropped(size_t spans);

  std::string Text() const;  // in Prometheus' text format

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_TELEMETRY_METRICS_H_
