// Decides which calls are traced, and sends their spans to a collector.
#ifndef LONGTAKE_SERVER_TELEMETRY_TRACER_H_
#define LONGTAKE_SERVER_TELEMETRY_TRACER_H_

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/build_info.h"
#include "common/curl_client.h"
#include "common/mutex.h"
#include "server/telemetry/metrics.h"
#include "server/telemetry/otlp.h"
#include "server/telemetry/span.h"
#include "server/telemetry/trace_options.h"
#include "spdlog/logger.h"

namespace longtake::server {

// Spans wait in a queue of its own size and are sent by a thread of its own. Where the collector is away or too slow
// they are dropped and counted (longtake_trace_spans_total), and nobody else notices. Thread-safe.
class Tracer : public SpanSink {
 public:
  // InvalidArgument names the option; Unavailable: the system gives no thread. `metrics` and `logger` outlive it.
  static absl::StatusOr<std::unique_ptr<Tracer>> Start(const TraceOptions& options, const BuildInfo& build,
                                                       Metrics* metrics, spdlog::logger* logger);
  // Sends what waits, but not for longer than a request may take, and drops the rest.
  ~Tracer() override;

  // The context of a new call's span. A client's trace goes on as its flag says; without one (`traceparent` is empty or
  // not well-formed) a new trace begins, and is recorded by --trace-ratio. `parent_id` gets the client's span.
  TraceContext Begin(absl::string_view traceparent, std::string& parent_id) const;

  void Add(Span span) override;

 private:
  Tracer(const TraceOptions& options, const BuildInfo& build, Metrics* metrics, spdlog::logger* logger);
  void Run();  // thread_'s
  void Send(const std::vector<Span>& spans);

  const TraceOptions options_;
  const std::string url_;
  const OtlpResource resource_;
  Metrics* const metrics_;
  spdlog::logger* const logger_;
  CurlClient client_;
  bool away_ = false;  // on the thread: the collector did not take the last spans

  Mutex mutex_;
  ConditionVariable changed_;
  std::vector<Span> queue_ ABSL_GUARDED_BY(mutex_);
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_TELEMETRY_TRACER_H_
