#include "server/telemetry/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <map>
#include <utility>

#include "absl/strings/ascii.h"
#include "server/telemetry/gauges.h"

namespace longtake::server {
namespace {

prometheus::Histogram::BucketBoundaries Doubling(double from, int count) {
  prometheus::Histogram::BucketBoundaries bounds;
  for (int i = 0; i < count; ++i, from *= 2) bounds.push_back(from);
  return bounds;
}

// From the tenth of a second that a tiny model needs to the minute that the server lets a request wait by default, as
// fine as a promise: neighbours differ by a third to a half.
const prometheus::Histogram::BucketBoundaries kFirstChunkSeconds = {
    0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8, 1.2, 1.6, 2.4, 3.2, 4.8, 6.4, 9.6, 13, 19, 26, 38, 52, 76, 120};

const char* Name(ViewerOutcome outcome) {
  switch (outcome) {
    case ViewerOutcome::kSmooth:
      return "smooth";
    case ViewerOutcome::kStalled:
      return "stalled";
    case ViewerOutcome::kLate:
      return "late";
    case ViewerOutcome::kCut:
      return "cut";
  }
  return "";
}

const char* Name(PolicyOutcome outcome) {
  switch (outcome) {
    case PolicyOutcome::kAllowed:
      return "allowed";
    case PolicyOutcome::kRefused:
      return "refused";
    case PolicyOutcome::kFailed:
      return "failed";
  }
  return "";
}

std::string Name(absl::StatusCode code) { return absl::AsciiStrToLower(absl::StatusCodeToString(code)); }

}  // namespace

struct Metrics::Impl {
  using Counters = prometheus::Family<prometheus::Counter>;
  using Buckets = prometheus::Histogram::BucketBoundaries;

  Counters& NewCounters(const char* name, const char* help) {
    return prometheus::BuildCounter().Name(name).Help(help).Register(*registry);
  }
  prometheus::Counter& NewCounter(const char* name, const char* help) { return NewCounters(name, help).Add({}); }
  prometheus::Histogram& NewHistogram(const char* name, const char* help, Buckets bounds) {
    return prometheus::BuildHistogram().Name(name).Help(help).Register(*registry).Add({}, std::move(bounds));
  }
  explicit Impl(const BuildInfo& build) : gauges(std::make_shared<Gauges>(build)) {
    auto& passes = prometheus::BuildHistogram()
                       .Name("longtake_pass_device_seconds")
                       .Help("Device time of a pass, by kind.")
                       .Register(*registry);
    for (PassKind kind : kPassKinds) pass_seconds[kind] = &passes.Add({{"kind", longtake::Name(kind)}}, kPassSeconds);
    for (const ViewerOutcome outcome :
         {ViewerOutcome::kSmooth, ViewerOutcome::kStalled, ViewerOutcome::kLate, ViewerOutcome::kCut}) {
      left[outcome] = &viewers_left.Add({{"outcome", Name(outcome)}});
    }
    for (const PolicyOutcome outcome : {PolicyOutcome::kAllowed, PolicyOutcome::kRefused, PolicyOutcome::kFailed}) {
      policy[outcome] = &policy_answers.Add({{"outcome", Name(outcome)}});
    }
    for (int code = 0; code <= static_cast<int>(absl::StatusCode::kUnauthenticated); ++code) {
      ended.Add({{"outcome", Name(static_cast<absl::StatusCode>(code))}});
    }
  }

  // A tiny model's pass takes a millisecond, a 2B pass on a CPU half a minute.
  const Buckets kPassSeconds = Doubling(0.0005, 18);
  std::shared_ptr<prometheus::Registry> registry = std::make_shared<prometheus::Registry>();
  const std::shared_ptr<Gauges> gauges;
  std::map<PassKind, prometheus::Histogram*> pass_seconds;
  prometheus::Histogram& first_chunk =
      NewHistogram("longtake_first_chunk_seconds",
                   "Of live videos, from the request's arrival until the first chunk went out.", kFirstChunkSeconds);
  prometheus::Histogram& batch_passes = NewHistogram("longtake_batch_passes", "Passes of a batch.", Doubling(1, 8));
  prometheus::Histogram& batch_tokens =
      NewHistogram("longtake_batch_tokens", "Transformer tokens of a batch that has any.", Doubling(64, 14));
  prometheus::Histogram& slack = NewHistogram(
      "longtake_live_slack_seconds", "Slack of live videos, sampled once a second: below 0 the next chunk is late.",
      {-10.0, -3.0, -1.0, -0.3, 0.0, 0.3, 1.0, 3.0, 10.0, 20.0, 30.0, 60.0, 90.0});
  prometheus::Histogram& quote_error = NewHistogram("longtake_quote_over_actual_ratio",
                                                    "Quoted over actual time to the first chunk: below 1 it was late.",
                                                    {0.5, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0});
  prometheus::Histogram& real_time =
      NewHistogram("longtake_real_time_ratio", "Seconds of video a device second, by block.", Doubling(0.0625, 12));
  prometheus::Counter& stalls = NewCounter("longtake_stalls_total", "Times that a live viewer's picture stood still.");
  prometheus::Counter& reduced =
      NewCounter("longtake_reduced_blocks_total", "Blocks made with fewer denoising steps than the model's.");
  prometheus::Counter& chunks = NewCounter("longtake_chunks_total", "Chunks that went out.");
  prometheus::Counter& chunk_bytes = NewCounter("longtake_chunk_bytes_total", "Bytes of chunks that went out.");
  prometheus::Counter& video_seconds = NewCounter("longtake_video_seconds_total", "Seconds of video that went out.");
  Counters& viewers_left =
      NewCounters("longtake_live_viewers_left_total", "Viewers of live videos that have left, by what they saw.");
  std::map<ViewerOutcome, prometheus::Counter*> left;
  Counters& refusals = NewCounters("longtake_refusals_total", "Requests for a video refused, by reason.");
  Counters& quota_refusals =
      NewCounters("longtake_quota_refusals_total", "Calls refused because their tenant has its quota, by quota.");
  Counters& quota_exchanges = NewCounters("longtake_quota_exchanges_total",
                                          "Exchanges of quotas' counters with other servers, by what counts now.");
  prometheus::Counter& quotas_shared = quota_exchanges.Add({{"counts", "all_servers"}});
  prometheus::Counter& quotas_alone = quota_exchanges.Add({{"counts", "this_server"}});
  Counters& policy_answers = NewCounters("longtake_policy_answers_total", "Questions to the policy, by outcome.");
  std::map<PolicyOutcome, prometheus::Counter*> policy;
  prometheus::Histogram& policy_seconds =
      NewHistogram("longtake_policy_seconds", "Time until the policy has answered, or failed to.", Doubling(0.001, 14));
  prometheus::Counter& store_failures =
      NewCounter("longtake_store_failures_total", "Videos of which something could not be stored or removed.");
  Counters& spans =
      NewCounters("longtake_trace_spans_total", "Spans of traces, by whether the collector has taken them.");
  prometheus::Counter& spans_sent = spans.Add({{"outcome", "sent"}});
  prometheus::Counter& spans_dropped = spans.Add({{"outcome", "dropped"}});
  Counters& ended = NewCounters("longtake_videos_ended_total", "Videos that were accepted and have ended, by status.");
};

Metrics::Metrics(const BuildInfo& build) : impl_(std::make_unique<Impl>(build)) {}
Metrics::~Metrics() = default;

void Metrics::WatchConnections(std::function<Connections()> connections) {
  impl_->gauges->WatchConnections(std::move(connections));
}
void Metrics::Watch(std::shared_ptr<const Sources> sources) { impl_->gauges->Watch(std::move(sources)); }

void Metrics::Passed(PassKind kind, double device_seconds) { impl_->pass_seconds.at(kind)->Observe(device_seconds); }

void Metrics::Batch(size_t passes, int64_t tokens) {
  impl_->batch_passes.Observe(static_cast<double>(passes));
  if (tokens > 0) impl_->batch_tokens.Observe(static_cast<double>(tokens));
}

void Metrics::BlockMade(double seconds_of_video, double device_seconds, bool reduced) {
  if (device_seconds > 0) impl_->real_time.Observe(seconds_of_video / device_seconds);
  if (reduced) impl_->reduced.Increment();
}

void Metrics::ChunkSent(int64_t bytes, double seconds_of_video) {
  impl_->chunks.Increment();
  impl_->chunk_bytes.Increment(static_cast<double>(bytes));
  impl_->video_seconds.Increment(seconds_of_video);
}

void Metrics::Stalled(int stalls) { impl_->stalls.Increment(stalls); }
void Metrics::FirstChunk(double seconds) { impl_->first_chunk.Observe(seconds); }
void Metrics::FirstChunkQuoted(double quoted_seconds, double actual_seconds) {
  impl_->quote_error.Observe(quoted_seconds / actual_seconds);
}
void Metrics::Slack(double seconds) { impl_->slack.Observe(seconds); }
void Metrics::ViewerLeft(ViewerOutcome outcome) { impl_->left.at(outcome)->Increment(); }
void Metrics::SetRefusalReasons(const std::vector<std::string>& reasons) {
  for (const std::string& reason : reasons) impl_->refusals.Add({{"reason", reason}});
}
void Metrics::Refused(const std::string& reason) { impl_->refusals.Add({{"reason", reason}}).Increment(); }
void Metrics::SetQuotas(const std::vector<std::string>& quotas) {
  for (const std::string& quota : quotas) impl_->quota_refusals.Add({{"quota", quota}});
}
void Metrics::QuotaExceeded(const std::string& quota) { impl_->quota_refusals.Add({{"quota", quota}}).Increment(); }
void Metrics::QuotasExchanged(bool answered) { (answered ? impl_->quotas_shared : impl_->quotas_alone).Increment(); }
void Metrics::PolicyAnswered(PolicyOutcome outcome, double seconds) {
  impl_->policy.at(outcome)->Increment();
  impl_->policy_seconds.Observe(seconds);
}
void Metrics::SpansSent(size_t spans) { impl_->spans_sent.Increment(static_cast<double>(spans)); }
void Metrics::SpansDropped(size_t spans) { impl_->spans_dropped.Increment(static_cast<double>(spans)); }
void Metrics::StoreFailed() { impl_->store_failures.Increment(); }
void Metrics::Ended(absl::StatusCode outcome) { impl_->ended.Add({{"outcome", Name(outcome)}}).Increment(); }

std::string Metrics::Text() const {
  std::vector<prometheus::MetricFamily> families = impl_->registry->Collect();
  for (prometheus::MetricFamily& family : impl_->gauges->Collect()) families.push_back(std::move(family));
  return prometheus::TextSerializer().Serialize(families);
}

}  // namespace longtake::server
