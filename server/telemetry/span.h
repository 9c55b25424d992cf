// One span of a trace, and where spans go.
#ifndef LONGTAKE_SERVER_TELEMETRY_SPAN_H_
#define LONGTAKE_SERVER_TELEMETRY_SPAN_H_

#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/time/time.h"
#include "server/telemetry/trace_context.h"

namespace longtake::server {

struct Span {
  TraceContext context;   // the span's own
  std::string parent_id;  // empty: it is the trace's first
  std::string name;
  bool from_client = false;  // it is what the server did for a call; else a part of that
  absl::Time start, end;
  std::vector<std::pair<std::string, std::variant<std::string, int64_t, double>>> attributes;
  std::string error;  // empty: what it stands for went well
};

class SpanSink {
 public:
  virtual ~SpanSink() = default;
  // Any thread. Never waits: where there is no room for the span it is dropped.
  virtual void Add(Span span) = 0;
};

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_TELEMETRY_SPAN_H_
