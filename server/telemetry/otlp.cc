#include "server/telemetry/otlp.h"

#include <nlohmann/json.hpp>
#include <type_traits>

#include "absl/strings/str_cat.h"

namespace longtake::server {
namespace {

using nlohmann::json;

// opentelemetry.proto.trace.v1.Span.SpanKind and Status.StatusCode.
constexpr int kInternal = 1, kServer = 2, kError = 2;

// 64-bit integers are text in this form.
json Nanoseconds(absl::Time time) { return absl::StrCat(absl::ToUnixNanos(time)); }

json ToJson(const std::variant<std::string, int64_t, double>& value) {
  return std::visit(
      [](const auto& held) -> json {
        using Held = std::decay_t<decltype(held)>;
        if constexpr (std::is_same_v<Held, std::string>) return {{"stringValue", held}};
        if constexpr (std::is_same_v<Held, int64_t>) return {{"intValue", absl::StrCat(held)}};
        if constexpr (std::is_same_v<Held, double>) return {{"doubleValue", held}};
      },
      value);
}

template <typename Attributes>
json AttributesJson(const Attributes& attributes) {
  json out = json::array();
  for (const auto& [key, value] : attributes) out.push_back({{"key", key}, {"value", ToJson(value)}});
  return out;
}

json ToJson(const Span& span) {
  json out = {{"traceId", span.context.trace_id},
              {"spanId", span.context.span_id},
              {"name", span.name},
              {"kind", span.from_client ? kServer : kInternal},
              {"startTimeUnixNano", Nanoseconds(span.start)},
              {"endTimeUnixNano", Nanoseconds(span.end)},
              {"attributes", AttributesJson(span.attributes)},
              {"status", json::object()}};
  if (!span.parent_id.empty()) out["parentSpanId"] = span.parent_id;
  if (!span.error.empty()) out["status"] = {{"code", kError}, {"message", span.error}};
  return out;
}

}  // namespace

std::string ToOtlpJson(const OtlpResource& resource, const std::vector<Span>& spans) {
  json list = json::array();
  for (const Span& span : spans) list.push_back(ToJson(span));
  const json scope = {{"scope", {{"name", "longtake"}}}, {"spans", std::move(list)}};
  const json request = {{"resourceSpans", json::array({{{"resource", {{"attributes", AttributesJson(resource)}}},
                                                        {"scopeSpans", json::array({scope})}}})}};
  return request.dump(-1, ' ', false, json::error_handler_t::replace);
}

}  // namespace longtake::server
