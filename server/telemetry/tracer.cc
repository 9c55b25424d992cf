#include "server/telemetry/tracer.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/random_bytes.h"
#include "common/thread.h"
#include "server/telemetry/log_format.h"

namespace longtake::server {
namespace {

// By the specification of OTLP/HTTP the path is put behind the endpoint.
std::string UrlOf(std::string endpoint) {
  while (absl::EndsWith(endpoint, "/")) endpoint.pop_back();
  return endpoint + "/v1/traces";
}

OtlpResource ResourceOf(const TraceOptions& options, const BuildInfo& build) {
  return {{"service.name", "longtake-server"},
          {"service.version", build.version},
          {"service.instance.id", options.instance.empty() ? absl::BytesToHexString(RandomBytes(8)) : options.instance},
          {"longtake.commit", build.commit}};
}

// Every server of a trace comes to the same answer, for it is the trace's id that says it.
bool Sampled(const std::string& trace_id, double ratio) {
  const std::string bytes = absl::HexStringToBytes(trace_id.substr(16));
  uint64_t number = 0;
  std::memcpy(&number, bytes.data(), sizeof(number));
  return static_cast<double>(number) < ratio * static_cast<double>(std::numeric_limits<uint64_t>::max());
}

}  // namespace

Tracer::Tracer(const TraceOptions& options, const BuildInfo& build, Metrics* metrics, spdlog::logger* logger)
    : options_(options),
      url_(UrlOf(options.endpoint)),
      resource_(ResourceOf(options, build)),
      metrics_(metrics),
      logger_(logger),
      client_(options.timeout) {}

absl::StatusOr<std::unique_ptr<Tracer>> Tracer::Start(const TraceOptions& options, const BuildInfo& build,
                                                      Metrics* metrics, spdlog::logger* logger) {
  if (!absl::StartsWith(options.endpoint, "http://") && !absl::StartsWith(options.endpoint, "https://")) {
    return absl::InvalidArgumentError("otlp-endpoint: begins with neither http:// nor https://");
  }
  std::unique_ptr<Tracer> tracer(new Tracer(options, build, metrics, logger));
  absl::StatusOr<std::thread> thread = StartThread("traces", [raw = tracer.get()] { raw->Run(); });
  if (!thread.ok()) return thread.status();
  tracer->thread_ = *std::move(thread);
  return tracer;
}

Tracer::~Tracer() {
  {
    const MutexLock lock(mutex_);
    ending_ = true;
  }
  changed_.NotifyAll();
  if (thread_.joinable()) thread_.join();
}

TraceContext Tracer::Begin(absl::string_view traceparent, std::string& parent_id) const {
  TraceContext context;
  if (std::optional<TraceContext> parent = ParseTraceparent(traceparent); parent.has_value()) {
    parent_id = std::move(parent->span_id);
    context = *std::move(parent);
  } else {
    context.trace_id = absl::BytesToHexString(RandomBytes(16));
    context.sampled = Sampled(context.trace_id, options_.ratio);
  }
  context.span_id = absl::BytesToHexString(RandomBytes(8));
  return context;
}

void Tracer::Add(Span span) {
  {
    const MutexLock lock(mutex_);
    if (queue_.size() < options_.queue && !ending_) {
      queue_.push_back(std::move(span));
      // The thread wakes by itself in time, unless half of the room is taken before.
      if (queue_.size() != options_.queue / 2) return;
      changed_.NotifyAll();
      return;
    }
  }
  metrics_->SpansDropped(1);
}

void Tracer::Run() {
  bool ending = false;
  while (!ending) {
    std::vector<Span> spans;
    {
      MutexLock lock(mutex_);
      changed_.WaitFor(lock, options_.flush, [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
        return ending_ || queue_.size() >= std::max<size_t>(1, options_.queue / 2);
      });
      ending = ending_;
      spans.swap(queue_);
    }
    if (!spans.empty()) Send(spans);
  }
}

void Tracer::Send(const std::vector<Span>& spans) {
  const absl::StatusOr<CurlClient::Answer> answer =
      client_.Post(url_, ToOtlpJson(resource_, spans), {"Content-Type: application/json"});
  if (answer.ok() && answer->status / 100 == 2) {
    metrics_->SpansSent(spans.size());
    if (std::exchange(away_, false)) logger_->info("the collector of traces takes spans again");
    return;
  }
  metrics_->SpansDropped(spans.size());
  // Once: a collector that is away is away for many spans.
  if (std::exchange(away_, true)) return;
  logger_->warn(
      "the collector of traces does not take spans: they are dropped error={}",
      LogValue(answer.ok() ? absl::StrCat(url_, ": status ", answer->status) : std::string(answer.status().message())));
}

}  // namespace longtake::server
