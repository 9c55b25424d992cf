// Which call something was done for.
#ifndef LONGTAKE_SERVER_TELEMETRY_ORIGIN_H_
#define LONGTAKE_SERVER_TELEMETRY_ORIGIN_H_

#include <string>

#include "absl/strings/string_view.h"
#include "server/telemetry/trace_context.h"

namespace longtake::server {

// Goes from a call to the video that it creates, so that the log's lines about both can be found by it.
struct CallOrigin {
  // The client's x-request-id, or one that was made here. It names the call in the log and identifies nothing else; the
  // API's request_id, by which a request is repeated, is another one.
  std::string request_id;
  TraceContext trace;  // of the call's span
};

// Header and metadata key of it.
inline constexpr char kRequestIdKey[] = "x-request-id";

// What a client gave, if it has 1 to 64 letters, digits, '-', '_' and '.'; else 16 random hexadecimal digits.
std::string RequestIdFrom(absl::string_view given);

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_TELEMETRY_ORIGIN_H_
