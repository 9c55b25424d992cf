#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "server/access/quotas_impl.h"
#include "server/video/error.h"
#include "spdlog/logger.h"

namespace longtake::server {

Usage& Quotas::Impl::UsageOf(const Tenant& tenant) {
  if (usage.size() >= forget_at && !usage.contains(tenant)) {
    const absl::Duration at = clock->Now(), today = Today();
    std::erase_if(usage, [at, today](const auto& each) { return each.second.Idle(at, today); });
    forget_at = std::max(kRememberTenants, 2 * usage.size());
  }
  return usage[tenant];
}

absl::Status Quotas::Impl::Exceeded(const Tenant& tenant, const char* quota, double limit, const char* of,
                                    std::optional<absl::Duration> retry) const {
  metrics->QuotaExceeded(quota);
  return MakeError(absl::StatusCode::kResourceExhausted,
                   absl::StrCat("quota ", quota, ": the tenant may have ", limit, " ", of),
                   {.reason = Reason::kQuotaExceeded,
                    .retry_delay = retry,
                    .metadata = {{"quota", quota}},
                    .resource = absl::StrCat("tenants/", tenant.id)});
}

absl::Status Quotas::Impl::Check(const Tenant& tenant, const Quota& quota, const Usage& used,
                                 const std::optional<AllUse>& all, size_t delivery) const {
  if (quota.concurrent_videos.has_value() &&
      (all.has_value() ? all->too_many_videos : used.videos >= *quota.concurrent_videos)) {
    return Exceeded(tenant, "concurrent_videos", *quota.concurrent_videos, "videos made at the same time");
  }
  if (quota.queue_share.has_value() && used.waiting[delivery] >= QueuePlaces(*quota.queue_share)) {
    return Exceeded(tenant, "queue_share", *quota.queue_share, "of the queue");
  }
  if (quota.device_seconds_a_day.has_value()) {
    const absl::Duration until =
        (all.has_value() ? all->device : used.device).UntilBelow(Today(), *quota.device_seconds_a_day);
    if (until > absl::ZeroDuration()) {
      return Exceeded(tenant, "device_seconds_a_day", *quota.device_seconds_a_day, "device seconds in 24 hours",
                      until == absl::InfiniteDuration() ? std::nullopt : std::optional(until));
    }
  }
  return absl::OkStatus();
}

Quotas::Quotas(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Quotas::~Quotas() = default;

absl::StatusOr<std::unique_ptr<Quotas>> Quotas::Open(const std::string& path, int max_waiting, const Clock* clock,
                                                     Metrics* metrics, spdlog::logger* logger,
                                                     std::function<absl::Time()> now) {
  metrics->SetQuotas({"concurrent_videos", "device_seconds_a_day", "queue_share", "calls_a_second", "watches"});
  auto impl = std::make_unique<Impl>();
  impl->max_waiting = max_waiting;
  impl->clock = clock;
  impl->metrics = metrics;
  impl->logger = logger;
  impl->now = std::move(now);
  if (!path.empty()) {
    const auto parse = [path](const std::string& text) { return QuotaTable::Parse(path, text); };
    ASSIGN_OR_RETURN(impl->file, WatchedFile<QuotaTable>::Open(path, parse, clock, logger));
  }
  return std::unique_ptr<Quotas>(new Quotas(std::move(impl)));
}

absl::Status Quotas::OnCall(const Tenant& tenant) {
  if (impl_->file == nullptr) return absl::OkStatus();
  const std::optional<double> a_second = impl_->file->Get()->Of(tenant).calls_a_second;
  if (!a_second.has_value()) return absl::OkStatus();
  const MutexLock lock(impl_->mutex);
  Usage& used = impl_->UsageOf(tenant);
  used.called = impl_->clock->Now();
  const std::optional<absl::Duration> until = used.calls.Take(used.called, *a_second);
  if (!until.has_value()) {
    if (impl_->counters != nullptr) ++used.untold_calls;
    return absl::OkStatus();
  }
  return impl_->Exceeded(tenant, "calls_a_second", *a_second, "calls a second", until);
}

absl::StatusOr<std::shared_ptr<void>> Quotas::OpenWatch(const Tenant& tenant) {
  if (impl_->file == nullptr) return std::shared_ptr<void>();
  const std::optional<double> most = impl_->file->Get()->Of(tenant).watches;
  {
    const MutexLock lock(impl_->mutex);
    Usage& used = impl_->UsageOf(tenant);
    if (most.has_value() && used.watches >= *most) {
      return impl_->Exceeded(tenant, "watches", *most, "watches open at the same time");
    }
    ++used.watches;
  }
  return std::shared_ptr<void>(nullptr, [this, tenant](void*) { impl_->CloseWatch(tenant); });
}

absl::Status Quotas::OnNew(uint64_t id, const Tenant& tenant, const std::string& video, scheduler::Delivery delivery,
                           bool restored) {
  if (impl_->file == nullptr) return absl::OkStatus();
  const size_t number = delivery == scheduler::Delivery::kLive ? 0 : 1;
  const Quota quota = impl_->file->Get()->Of(tenant);
  // Without the lock, for all calls need it. What is refused below counts until the studio has given the video back.
  const std::optional<Impl::AllUse> all =
      impl_->CountAtAll(tenant, video, restored ? std::nullopt : quota.concurrent_videos);
  const MutexLock lock(impl_->mutex);
  Usage& used = impl_->UsageOf(tenant);
  if (!restored) RETURN_IF_ERROR(impl_->Check(tenant, quota, used, all, number));
  ++used.videos;
  impl_->videos[id] = {.tenant = tenant, .delivery = number};
  return absl::OkStatus();
}

std::vector<Quotas::Use> Quotas::uses() const {
  std::vector<Use> uses;
  if (impl_->file == nullptr) return uses;
  const std::shared_ptr<const QuotaTable> table = impl_->file->Get();
  const MutexLock lock(impl_->mutex);
  for (const auto& [tenant, used] : impl_->usage) {
    const Quota& quota = table->Of(tenant);
    const auto add = [&uses, &name = tenant.id](const char* what, double has, const std::optional<double>& limit) {
      if (limit.has_value()) uses.push_back({name, what, has, *limit});
    };
    add("concurrent_videos", used.videos, quota.concurrent_videos);
    add("device_seconds_a_day", used.device.Sum(impl_->Today()), quota.device_seconds_a_day);
    const std::optional<double> places =
        quota.queue_share.has_value() ? std::optional(impl_->QueuePlaces(*quota.queue_share)) : std::nullopt;
    add("queue_share", std::max(used.waiting[0], used.waiting[1]), places);
    add("watches", used.watches, quota.watches);
  }
  return uses;
}

void Quotas::OnWaiting(uint64_t id) {
  const MutexLock lock(impl_->mutex);
  if (const auto found = impl_->videos.find(id); found != impl_->videos.end()) impl_->Wait(found->second, true);
}

void Quotas::OnPlaced(uint64_t id) {
  const MutexLock lock(impl_->mutex);
  if (const auto found = impl_->videos.find(id); found != impl_->videos.end()) impl_->Wait(found->second, false);
}

void Quotas::OnUsed(uint64_t id, double device_seconds) {
  const MutexLock lock(impl_->mutex);
  const auto found = impl_->videos.find(id);
  if (found == impl_->videos.end()) return;
  Usage& used = impl_->UsageOf(found->second.tenant);
  used.device.Add(impl_->Today(), device_seconds);
  used.untold_device = true;
}

void Quotas::OnOver(uint64_t id) {
  const MutexLock lock(impl_->mutex);
  const auto found = impl_->videos.find(id);
  if (found == impl_->videos.end()) return;
  impl_->Wait(found->second, false);
  --impl_->UsageOf(found->second.tenant).videos;
  impl_->videos.erase(found);
}

}  // namespace longtake::server
