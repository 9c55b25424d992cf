// Where a call stands in a distributed trace (W3C Trace Context, https://www.w3.org/TR/trace-context/).
#ifndef LONGTAKE_SERVER_TELEMETRY_TRACE_CONTEXT_H_
#define LONGTAKE_SERVER_TELEMETRY_TRACE_CONTEXT_H_

#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace longtake::server {

struct TraceContext {
  std::string trace_id, span_id;  // 32 and 16 hexadecimal digits in lower case; empty: there is no trace
  bool sampled = false;           // spans are recorded
};

// Header and metadata key of it.
inline constexpr char kTraceparentKey[] = "traceparent";

// Nothing: the header is not one that the standard allows, and is to be ignored.
std::optional<TraceContext> ParseTraceparent(absl::string_view header);

// The header of a call that is made within this span.
std::string ToTraceparent(const TraceContext& context);

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_TELEMETRY_TRACE_CONTEXT_H_
