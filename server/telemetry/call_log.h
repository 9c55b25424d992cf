// What the log says of calls, over gRPC and over HTTP alike.
#ifndef LONGTAKE_SERVER_TELEMETRY_CALL_LOG_H_
#define LONGTAKE_SERVER_TELEMETRY_CALL_LOG_H_

#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "server/telemetry/log_options.h"
#include "server/telemetry/origin.h"
#include "spdlog/logger.h"

namespace longtake::server {

class Tracer;

// One call, from its arrival to its end. Not thread-safe.
struct CallRecord {
  std::string method;    // "longtake.v1.VideoService/GetVideo", "GET /v1/videos/{video}"
  bool routine = false;  // reads or reports something, as programs do again and again
  absl::Time began = absl::Now();
  CallOrigin origin;
  std::string parent_span;  // the client's; empty: it has sent none
  std::string tenant;       // who is asking, once that is known
  std::string video;        // the video's name, where the call is about one
  std::string code;         // gRPC's name of its status, or HTTP's number
  bool failed = false;      // the fault is the server's
};

// Thread-safe.
class CallLog {
 public:
  // Both outlive it; without a tracer nothing is traced.
  CallLog(CallLogLevel level, spdlog::logger* logger, Tracer* tracer)
      : level_(level), logger_(logger), tracer_(tracer) {}

  // Gives the call its id and its place in a trace, from what its client has sent of these.
  void OnBegun(absl::string_view request_id, absl::string_view traceparent, CallRecord& call) const;
  // Writes the call's line, and its span.
  void OnFinished(const CallRecord& call) const;

 private:
  const CallLogLevel level_;
  spdlog::logger* const logger_;
  Tracer* const tracer_;
};

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_TELEMETRY_CALL_LOG_H_
