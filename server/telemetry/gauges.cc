#include "server/telemetry/gauges.h"

#include <utility>

namespace longtake::server {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

MetricFamily Family(const char* name, const char* help, MetricType type = MetricType::Gauge) {
  return {name, help, type, {}};
}

void Add(MetricFamily& family, std::vector<ClientMetric::Label> labels, double value) {
  ClientMetric metric;
  metric.label = std::move(labels);
  (family.type == MetricType::Counter ? metric.counter.value : metric.gauge.value) = value;
  family.metric.push_back(std::move(metric));
}

void AddScheduler(const scheduler::Stats& stats, std::vector<MetricFamily>& out) {
  auto& sessions = out.emplace_back(Family("longtake_sessions", "Sessions with a place on a device, by state."));
  Add(sessions, {{"state", "active"}}, stats.running - stats.asleep - stats.parked - stats.ahead);
  Add(sessions, {{"state", "ahead"}}, stats.ahead);
  Add(sessions, {{"state", "parked"}}, stats.parked);
  Add(sessions, {{"state", "asleep"}}, stats.asleep);
  auto& queue = out.emplace_back(Family("longtake_queue_length", "Requests that wait for a place."));
  Add(queue, {{"delivery", "live"}}, stats.live_waiting);
  Add(queue, {{"delivery", "offline"}}, stats.waiting - stats.live_waiting);
  auto& backlog = out.emplace_back(
      Family("longtake_backlog_seconds", "Predicted device time of all that is accepted and not made."));
  Add(backlog, {{"delivery", "live"}}, stats.live_backlog_seconds);
  Add(backlog, {{"delivery", "offline"}}, stats.backlog_seconds - stats.live_backlog_seconds);
  Add(out.emplace_back(Family("longtake_passes_in_flight", "Passes of the batches under way.")), {},
      stats.passes_in_flight);
  Add(out.emplace_back(
          Family("longtake_live_load_ratio", "Share of the devices that admitted live videos need to keep up.")),
      {}, stats.live_load);
  auto& error = out.emplace_back(
      Family("longtake_pass_prediction_error_ratio",
             "Moving mean of |predicted - actual| / actual of batches that hold the kind of pass, of the worst lane."));
  for (PassKind kind : kPassKinds) {
    Add(error, {{"kind", Name(kind)}}, stats.kind_error[scheduler::Work::Index(kind)]);
  }
  auto& quotes = out.emplace_back(Family("longtake_quotes_total",
                                         "First chunks promised to live requests, by whether the promise was kept.",
                                         MetricType::Counter));
  Add(quotes, {{"kept", "true"}}, static_cast<double>(stats.quotes_kept));
  Add(quotes, {{"kept", "false"}}, static_cast<double>(stats.quotes - stats.quotes_kept));
  auto& tenants = out.emplace_back(
      Family("longtake_tenant_device_seconds_total", "Device time of a tenant's passes.", MetricType::Counter));
  // Who says no name is a tenant too, and there before its first pass.
  if (!stats.tenant_device_seconds.contains("")) Add(tenants, {{"tenant", "(none)"}}, 0);
  for (const auto& [tenant, seconds] : stats.tenant_device_seconds) {
    Add(tenants, {{"tenant", tenant.empty() ? "(none)" : tenant}}, seconds);
  }
}

void AddEngine(const std::vector<MemoryRegion>& memory, const SessionMoves& made, std::vector<MetricFamily>& out) {
  auto used = Family("longtake_memory_used_bytes", "Memory in use, by region.");
  auto planned = Family("longtake_memory_planned_bytes", "Memory planned at load, by region.");
  auto free_slots = Family("longtake_memory_free_slots", "Slots of the region that no session holds.");
  for (const MemoryRegion& region : memory) {
    if (region.slots > 0) Add(free_slots, {{"region", region.name}}, region.slots - region.slots_used);
    Add(used, {{"region", region.name}}, static_cast<double>(region.used_bytes));
    Add(planned, {{"region", region.name}}, static_cast<double>(region.planned_bytes));
  }
  for (MetricFamily* family : {&used, &planned, &free_slots}) out.push_back(std::move(*family));
  Add(out.emplace_back(Family("longtake_session_moves_total", "Sessions that went from one device to another.",
                              MetricType::Counter)),
      {}, static_cast<double>(made.count));
  Add(out.emplace_back(
          Family("longtake_session_move_seconds_total", "Time that those moves took.", MetricType::Counter)),
      {}, made.seconds);
}

void AddConnections(const Metrics::Connections& connections, std::vector<MetricFamily>& out) {
  Add(out.emplace_back(Family("longtake_connections", "Open connections of the ports for videos.")), {},
      connections.open);
  auto& closed =
      out.emplace_back(Family("longtake_connections_closed_total",
                              "Connections that were closed because as many were open as may be: idle ones, for new "
                              "ones, and new ones where none was idle.",
                              MetricType::Counter));
  Add(closed, {{"which", "idle"}}, static_cast<double>(connections.closed));
  Add(closed, {{"which", "new"}}, static_cast<double>(connections.turned_away));
}

}  // namespace

void Gauges::Watch(const std::shared_ptr<const Metrics::Sources>& sources) {
  const MutexLock lock(mutex_);
  sources_ = sources;
}

void Gauges::WatchConnections(std::function<Metrics::Connections()> connections) {
  const MutexLock lock(mutex_);
  connections_ = std::move(connections);
}

std::vector<MetricFamily> Gauges::Collect() const {
  std::shared_ptr<const Metrics::Sources> sources;
  std::function<Metrics::Connections()> connections;
  {
    const MutexLock lock(mutex_);
    sources = sources_.lock();
    connections = connections_;
  }
  const bool there = sources != nullptr;
  std::vector<MetricFamily> out;
  AddScheduler(there ? sources->stats() : scheduler::Stats{}, out);
  AddEngine(there ? sources->memory() : std::vector<MemoryRegion>(), there ? sources->moves() : SessionMoves{}, out);
  AddConnections(connections(), out);
  const Metrics::Viewers viewers = there ? sources->viewers() : Metrics::Viewers{};
  auto& live = out.emplace_back(
      Family("longtake_live_viewers", "Viewers of live videos that have their first chunk, by whether they stalled."));
  Add(live, {{"stalled", "false"}}, viewers.undisturbed);
  Add(live, {{"stalled", "true"}}, viewers.stalled);
  Add(out.emplace_back(Family("longtake_build_info", "1; the labels say what runs.")),
      {{"version", build_.version}, {"commit", build_.commit}}, 1);
  auto& model = out.emplace_back(Family("longtake_model_info", "1, once the model is loaded; the labels say which."));
  if (there) Add(model, {{"model", sources->model}, {"numerics_id", sources->numerics_id}}, 1);
  return out;
}

}  // namespace longtake::server
