#include "server/telemetry/metrics.h"

#include <prometheus/collectable.h>
#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <mutex>
#include <utility>

#include "absl/base/thread_annotations.h"

namespace longtake::server {
namespace {

// A tiny model's pass takes a millisecond, a 2B pass on a CPU half a minute: doubling from one to the other.
prometheus::Histogram::BucketBoundaries Doubling(double from, int count) {
  prometheus::Histogram::BucketBoundaries bounds;
  for (int i = 0; i < count; ++i, from *= 2) bounds.push_back(from);
  return bounds;
}

// Gauges that are read, not kept.
class Gauges : public prometheus::Collectable {
 public:
  void Watch(std::shared_ptr<const Metrics::Sources> sources) {
    const std::lock_guard lock(mutex_);
    sources_ = sources;
  }

  std::vector<prometheus::MetricFamily> Collect() const override {
    std::shared_ptr<const Metrics::Sources> sources;
    {
      const std::lock_guard lock(mutex_);
      sources = sources_.lock();
    }
    if (sources == nullptr) return {};
    const scheduler::Stats stats = sources->stats();
    auto sessions = Family("longtake_sessions", "Sessions with a place on the device.");
    Add(sessions, {{"state", "active"}}, stats.running - stats.parked - stats.ahead);
    Add(sessions, {{"state", "parked"}}, stats.parked);
    Add(sessions, {{"state", "ahead"}}, stats.ahead);
    auto queue = Family("longtake_queue_length", "Requests that wait for a place.");
    Add(queue, {}, stats.waiting);
    auto in_flight = Family("longtake_passes_in_flight", "Passes of the batch under way.");
    Add(in_flight, {}, stats.passes_in_flight);
    auto load = Family("longtake_live_load_ratio", "Share of the device that admitted live videos need to keep up.");
    Add(load, {}, stats.live_load);
    auto backlog = Family("longtake_backlog_seconds", "Predicted device time of all that is accepted and not made.");
    Add(backlog, {}, stats.backlog_seconds);
    auto error = Family("longtake_pass_prediction_error_ratio",
                        "Moving mean of |predicted - actual| / actual of batches that hold the kind of pass.");
    for (PassKind kind : kPassKinds) {
      Add(error, {{"kind", Name(kind)}}, stats.kind_error[scheduler::Work::Index(kind)]);
    }
    auto used = Family("longtake_memory_used_bytes", "Memory in use, by region.");
    auto planned = Family("longtake_memory_planned_bytes", "Memory planned at load, by region.");
    auto free_slots = Family("longtake_memory_free_slots", "Sessions that could still be opened, by region.");
    for (const MemoryRegion& region : sources->memory()) {
      if (region.slots > 0) Add(free_slots, {{"region", region.name}}, region.slots - region.slots_used);
      Add(used, {{"region", region.name}}, static_cast<double>(region.used_bytes));
      Add(planned, {{"region", region.name}}, static_cast<double>(region.planned_bytes));
    }
    auto videos = Family("longtake_live_videos", "Viewers of live videos, by whether they ever waited.");
    const Metrics::Viewers viewers = sources->viewers();
    Add(videos, {{"stalled", "false"}}, viewers.undisturbed);
    Add(videos, {{"stalled", "true"}}, viewers.stalled);
    auto tenants = Family("longtake_tenant_device_seconds_total", "Device time of a tenant's passes.",
                          prometheus::MetricType::Counter);
    for (const auto& [tenant, seconds] : stats.tenant_device_seconds) {
      Add(tenants, {{"tenant", tenant.empty() ? "(none)" : tenant}}, seconds);
    }
    const SessionMoves made = sources->moves();
    auto moves = Family("longtake_session_moves_total", "Sessions that went from one device to another.",
                        prometheus::MetricType::Counter);
    Add(moves, {}, static_cast<double>(made.count));
    auto move_seconds =
        Family("longtake_session_move_seconds_total", "Time that those moves took.", prometheus::MetricType::Counter);
    Add(move_seconds, {}, made.seconds);
    return {sessions, queue,      in_flight, load,    backlog, error,       used,
            planned,  free_slots, videos,    tenants, moves,   move_seconds};
  }

 private:
  static prometheus::MetricFamily Family(const char* name, const char* help,
                                         prometheus::MetricType type = prometheus::MetricType::Gauge) {
    return {name, help, type, {}};
  }
  static void Add(prometheus::MetricFamily& family, std::vector<prometheus::ClientMetric::Label> labels, double value) {
    prometheus::ClientMetric metric;
    metric.label = std::move(labels);
    (family.type == prometheus::MetricType::Counter ? metric.counter.value : metric.gauge.value) = value;
    family.metric.push_back(std::move(metric));
  }

  mutable std::mutex mutex_;
  std::weak_ptr<const Metrics::Sources> sources_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

struct Metrics::Impl {
  using Counters = prometheus::Family<prometheus::Counter>;
  using Histograms = prometheus::Family<prometheus::Histogram>;

  Counters& NewCounters(const char* name, const char* help) {
    return prometheus::BuildCounter().Name(name).Help(help).Register(*registry);
  }
  // Those without labels are there from the start: a rate needs the zero before the first event.
  prometheus::Counter& NewCounter(const char* name, const char* help) { return NewCounters(name, help).Add({}); }
  prometheus::Histogram& NewHistogram(const char* name, const char* help,
                                      prometheus::Histogram::BucketBoundaries bounds) {
    return prometheus::BuildHistogram().Name(name).Help(help).Register(*registry).Add({}, std::move(bounds));
  }

  std::shared_ptr<prometheus::Registry> registry = std::make_shared<prometheus::Registry>();
  std::shared_ptr<Gauges> gauges = std::make_shared<Gauges>();
  Histograms& pass_seconds = prometheus::BuildHistogram()
                                 .Name("longtake_pass_device_seconds")
                                 .Help("Device time of a pass, by kind.")
                                 .Register(*registry);
  prometheus::Histogram& first_chunk =
      NewHistogram("longtake_first_chunk_seconds",
                   "Of live videos, from the request's arrival until the first chunk went out.", Doubling(0.05, 14));
  prometheus::Histogram& batch_passes = NewHistogram("longtake_batch_passes", "Passes of a batch.", Doubling(1, 8));
  prometheus::Histogram& batch_tokens =
      NewHistogram("longtake_batch_tokens", "Transformer tokens of a batch that has any.", Doubling(64, 14));
  prometheus::Histogram& slack = NewHistogram(
      "longtake_live_slack_seconds", "Slack of live videos, sampled once a second: below 0 the next chunk is late.",
      {-10.0, -3.0, -1.0, -0.3, 0.0, 0.3, 1.0, 3.0, 10.0, 20.0, 30.0, 60.0});
  prometheus::Histogram& quote_error = NewHistogram("longtake_quote_over_actual_ratio",
                                                    "Quoted over actual time to the first chunk: below 1 it was late.",
                                                    {0.5, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0});
  Counters& quotes = NewCounters("longtake_quotes_total", "First chunks promised and sent, by whether in time.");
  prometheus::Counter& quotes_kept = quotes.Add({{"kept", "true"}});
  prometheus::Counter& quotes_broken = quotes.Add({{"kept", "false"}});
  prometheus::Histogram& real_time =
      NewHistogram("longtake_real_time_factor", "Seconds of video a device second, by block.", Doubling(0.0625, 12));
  prometheus::Counter& stalls = NewCounter("longtake_stalls_total", "Chunks that came later than they were needed.");
  prometheus::Counter& reduced =
      NewCounter("longtake_reduced_blocks_total", "Blocks made with fewer denoising steps than the model's.");
  prometheus::Counter& chunks = NewCounter("longtake_chunks_total", "Chunks that went out.");
  prometheus::Counter& chunk_bytes = NewCounter("longtake_chunk_bytes_total", "Bytes of chunks that went out.");
  prometheus::Counter& video_seconds = NewCounter("longtake_video_seconds_total", "Seconds of video that went out.");
  Counters& watched =
      NewCounters("longtake_live_videos_ended_total",
                  "Viewers of live videos whose picture had started and who have gone, by whether they ever waited.");
  Counters& refusals = NewCounters("longtake_refusals_total", "Requests refused, by reason.");
  Counters& ended = NewCounters("longtake_videos_ended_total", "Videos that were accepted and have ended, by status.");
};

Metrics::Metrics() : impl_(std::make_unique<Impl>()) {}
Metrics::~Metrics() = default;

void Metrics::Watch(std::shared_ptr<const Sources> sources) { impl_->gauges->Watch(std::move(sources)); }

void Metrics::Passed(PassKind kind, double device_seconds) {
  impl_->pass_seconds.Add({{"kind", Name(kind)}}, Doubling(0.0005, 18)).Observe(device_seconds);
}

void Metrics::Batch(size_t passes, int64_t tokens) {
  impl_->batch_passes.Observe(static_cast<double>(passes));
  if (tokens > 0) impl_->batch_tokens.Observe(static_cast<double>(tokens));
}

void Metrics::BlockMade(double seconds_of_video, double device_seconds, bool reduced) {
  if (device_seconds > 0) impl_->real_time.Observe(seconds_of_video / device_seconds);
  if (reduced) impl_->reduced.Increment();
}

void Metrics::ChunkDelivered(int64_t bytes, double seconds_of_video, bool stalled) {
  if (stalled) impl_->stalls.Increment();
  impl_->chunks.Increment();
  impl_->chunk_bytes.Increment(static_cast<double>(bytes));
  impl_->video_seconds.Increment(seconds_of_video);
}

void Metrics::FirstChunk(double seconds) { impl_->first_chunk.Observe(seconds); }
void Metrics::FirstChunkQuoted(double quoted_seconds, double actual_seconds) {
  impl_->quote_error.Observe(quoted_seconds / actual_seconds);
  (actual_seconds <= quoted_seconds ? impl_->quotes_kept : impl_->quotes_broken).Increment();
}
void Metrics::Slack(double seconds) { impl_->slack.Observe(seconds); }
void Metrics::Watched(bool stalled) { impl_->watched.Add({{"stalled", stalled ? "true" : "false"}}).Increment(); }
void Metrics::Refused(const std::string& reason) { impl_->refusals.Add({{"reason", reason}}).Increment(); }
void Metrics::Ended(const std::string& outcome) { impl_->ended.Add({{"outcome", outcome}}).Increment(); }

std::string Metrics::Text() const {
  std::vector<prometheus::MetricFamily> families = impl_->registry->Collect();
  for (prometheus::MetricFamily& family : impl_->gauges->Collect()) families.push_back(std::move(family));
  return prometheus::TextSerializer().Serialize(families);
}

}  // namespace longtake::server
