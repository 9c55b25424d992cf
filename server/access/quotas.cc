#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "common/mutex.h"
#include "common/status_macros.h"
#include "server/access/access.h"
#include "server/access/quota_table.h"
#include "server/access/usage.h"
#include "server/access/watched_file.h"
#include "server/video/error.h"

namespace longtake::server {
namespace {

// Tenants without anything open are forgotten once there are so many, and again each time their number has doubled.
constexpr size_t kRemember = 1000;

struct Usage {
  int videos = 0, watches = 0;
  std::array<int, 2> waiting = {};  // by delivery
  CallBucket calls;
  UsedToday device;

  bool Idle(absl::Duration now) const { return videos == 0 && watches == 0 && calls.Full(now) && device.Sum(now) == 0; }
};

}  // namespace

struct Quotas::Impl {
  struct Entry {
    Tenant tenant;
    size_t delivery = 0;
    bool waits = false;
  };

  Usage& UsageOf(const Tenant& tenant) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    if (usage.size() >= forget_at && !usage.contains(tenant)) {
      std::erase_if(usage, [now = clock->Now()](const auto& each) { return each.second.Idle(now); });
      forget_at = std::max(kRemember, 2 * usage.size());
    }
    return usage[tenant];
  }
  void Wait(Entry& entry, bool waits) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    if (entry.waits == waits) return;
    entry.waits = waits;
    UsageOf(entry.tenant).waiting[entry.delivery] += waits ? 1 : -1;
  }
  absl::Status Exceeded(const Tenant& tenant, const char* quota, double limit, const char* of,
                        std::optional<absl::Duration> retry = {}) const {
    metrics->QuotaExceeded(quota);
    return MakeError(absl::StatusCode::kResourceExhausted,
                     absl::StrCat("quota ", quota, ": the tenant may have ", limit, " ", of),
                     {.reason = Reason::kQuotaExceeded,
                      .retry_delay = retry,
                      .metadata = {{"quota", quota}},
                      .resource = absl::StrCat("tenants/", tenant.id)});
  }
  absl::Status Check(const Tenant& tenant, Usage& used, size_t delivery) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    const std::shared_ptr<const QuotaTable> table = file->Get();
    const Quota& quota = table->Of(tenant);
    if (quota.concurrent_videos.has_value() && used.videos >= *quota.concurrent_videos) {
      return Exceeded(tenant, "concurrent_videos", *quota.concurrent_videos, "videos made at the same time");
    }
    if (quota.queue_share.has_value() && used.waiting[delivery] >= QueuePlaces(*quota.queue_share)) {
      return Exceeded(tenant, "queue_share", *quota.queue_share, "of the queue");
    }
    if (quota.device_seconds_a_day.has_value()) {
      const absl::Duration until = used.device.UntilBelow(clock->Now(), *quota.device_seconds_a_day);
      if (until > absl::ZeroDuration()) {
        return Exceeded(tenant, "device_seconds_a_day", *quota.device_seconds_a_day, "device seconds in 24 hours",
                        until == absl::InfiniteDuration() ? std::nullopt : std::optional(until));
      }
    }
    return absl::OkStatus();
  }
  // Of a share. At least one, or a small share of a short queue would be none.
  double QueuePlaces(double share) const { return share == 0 ? 0 : std::max(1.0, std::floor(share * max_waiting)); }
  void CloseWatch(const Tenant& tenant) {
    const MutexLock lock(mutex);
    --UsageOf(tenant).watches;
  }

  int max_waiting = 0;
  const Clock* clock = nullptr;
  Metrics* metrics = nullptr;
  std::unique_ptr<WatchedFile<QuotaTable>> file;  // null: nothing is limited, and nothing counted
  Mutex mutex;
  std::map<Tenant, Usage> usage ABSL_GUARDED_BY(mutex);
  size_t forget_at ABSL_GUARDED_BY(mutex) = kRemember;
  std::map<uint64_t, Entry> videos ABSL_GUARDED_BY(mutex);
};

Quotas::Quotas(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Quotas::~Quotas() = default;

absl::StatusOr<std::unique_ptr<Quotas>> Quotas::Open(const std::string& path, int max_waiting, const Clock* clock,
                                                     Metrics* metrics, spdlog::logger* logger) {
  metrics->SetQuotas({"concurrent_videos", "device_seconds_a_day", "queue_share", "calls_a_second", "watches"});
  auto impl = std::make_unique<Impl>();
  impl->max_waiting = max_waiting;
  impl->clock = clock;
  impl->metrics = metrics;
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
  const std::optional<absl::Duration> until = impl_->UsageOf(tenant).calls.Take(impl_->clock->Now(), *a_second);
  if (!until.has_value()) return absl::OkStatus();
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

absl::Status Quotas::OnNew(uint64_t id, const Tenant& tenant, scheduler::Delivery delivery, bool restored) {
  if (impl_->file == nullptr) return absl::OkStatus();
  const size_t number = delivery == scheduler::Delivery::kLive ? 0 : 1;
  const MutexLock lock(impl_->mutex);
  Usage& used = impl_->UsageOf(tenant);
  if (!restored) RETURN_IF_ERROR(impl_->Check(tenant, used, number));
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
    add("device_seconds_a_day", used.device.Sum(impl_->clock->Now()), quota.device_seconds_a_day);
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
  impl_->UsageOf(found->second.tenant).device.Add(impl_->clock->Now(), device_seconds);
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
