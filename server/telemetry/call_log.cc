#include "server/telemetry/call_log.h"

#include "server/telemetry/log_format.h"
#include "server/telemetry/tracer.h"

namespace longtake::server {
namespace {

spdlog::level::level_enum LevelOf(CallLogLevel level, const CallRecord& call) {
  switch (level) {
    case CallLogLevel::kAuto:
      if (call.failed) return spdlog::level::warn;
      return call.routine ? spdlog::level::debug : spdlog::level::info;
    case CallLogLevel::kInfo:
      return spdlog::level::info;
    case CallLogLevel::kDebug:
      return spdlog::level::debug;
    case CallLogLevel::kOff:
      return spdlog::level::off;
  }
  return spdlog::level::off;
}

Span SpanOf(const CallRecord& call) {
  return {.context = call.origin.trace,
          .parent_id = call.parent_span,
          .name = call.method,
          .from_client = true,
          .start = call.began,
          .end = absl::Now(),
          .attributes = {{"longtake.code", call.code},
                         {"longtake.request_id", call.origin.request_id},
                         {"longtake.tenant", call.tenant},
                         {"longtake.video", call.video}},
          .error = call.failed ? call.code : ""};
}

}  // namespace

void CallLog::OnBegun(absl::string_view request_id, absl::string_view traceparent, CallRecord& call) const {
  call.origin.request_id = RequestIdFrom(request_id);
  if (tracer_ != nullptr) call.origin.trace = tracer_->Begin(traceparent, call.parent_span);
}

void CallLog::OnFinished(const CallRecord& call) const {
  if (call.origin.trace.sampled) tracer_->Add(SpanOf(call));
  const spdlog::level::level_enum level = LevelOf(level_, call);
  if (level == spdlog::level::off || !logger_->should_log(level)) return;
  logger_->log(level, "call finished method={} code={} seconds={:.6f} tenant={} name={} request_id={}",
               LogValue(call.method), LogValue(call.code), absl::ToDoubleSeconds(absl::Now() - call.began),
               LogValue(call.tenant), LogValue(call.video), LogValue(call.origin.request_id));
}

}  // namespace longtake::server
