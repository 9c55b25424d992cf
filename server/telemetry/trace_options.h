// What an operator may say about traces.
#ifndef LONGTAKE_SERVER_TELEMETRY_TRACE_OPTIONS_H_
#define LONGTAKE_SERVER_TELEMETRY_TRACE_OPTIONS_H_

#include <cstddef>
#include <string>

#include "absl/time/time.h"

namespace longtake::server {

struct TraceOptions {
  std::string endpoint;  // of a collector, "http://host:4318"; empty: there are no traces
  double ratio = 1;      // of the calls without a trace of their client's, those that are recorded
  std::string instance;  // service.instance.id; empty: a random one
  // Spans wait for so long, to be sent together, and at most so many of them.
  absl::Duration flush = absl::Seconds(1);
  size_t queue = 4096;
  // Of one request to the collector. A server that ends waits for two of them at most.
  absl::Duration timeout = absl::Seconds(2);
};

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_TELEMETRY_TRACE_OPTIONS_H_
