// Spans as OTLP has them: ExportTraceServiceRequest in protobuf's JSON form
// (https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding).
#ifndef LONGTAKE_SERVER_TELEMETRY_OTLP_H_
#define LONGTAKE_SERVER_TELEMETRY_OTLP_H_

#include <string>
#include <utility>
#include <vector>

#include "server/telemetry/span.h"

namespace longtake::server {

using OtlpResource = std::vector<std::pair<std::string, std::string>>;

// `resource`: attributes of the process that all spans have.
std::string ToOtlpJson(const OtlpResource& resource, const std::vector<Span>& spans);

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_TELEMETRY_OTLP_H_
