// What several servers count together. Each goes on alone while the counters do not answer.
#include <set>
#include <utility>
#include <vector>

#include "common/status_macros.h"
#include "common/thread.h"
#include "server/access/quotas_impl.h"
#include "spdlog/logger.h"

namespace longtake::server {
namespace {

// Servers tell each other of calls so often. In t seconds n servers then let in at most rate x (t + 2n + 1) calls of a
// tenant: each has a full bucket and one exchange that it does not know of yet.
constexpr absl::Duration kExchangeEvery = absl::Milliseconds(500);
// So long behind a tenant's last call here this server still learns of those at others. By then its bucket is full
// again, whatever up to sixty servers have let in at once.
constexpr absl::Duration kListenFor = absl::Minutes(1);
// All device seconds are told again so often, for Redis may have forgotten them.
constexpr absl::Duration kTellAllEvery = absl::Minutes(1);

}  // namespace

absl::Status Quotas::Share(TenantCounters* counters, bool with_thread) {
  if (impl_->file == nullptr) return absl::OkStatus();
  impl_->counters = counters;
  if (!with_thread) return absl::OkStatus();
  ASSIGN_OR_RETURN(impl_->thread, StartThread("the quotas' thread", [impl = impl_.get()] { impl->Run(); }));
  return absl::OkStatus();
}

void Quotas::Exchange() {
  if (impl_->counters == nullptr) return;
  impl_->ExchangeCalls();
  impl_->TellDeviceSeconds();
}

std::optional<Quotas::Impl::AllUse> Quotas::Impl::CountAtAll(const Tenant& tenant, const std::string& video,
                                                             std::optional<double> most) {
  if (counters == nullptr) return std::nullopt;
  const std::optional<int64_t> whole =
      most.has_value() ? std::optional(static_cast<int64_t>(*most)) : std::nullopt;  // the table has whole numbers
  const int64_t hour = UsedToday::HourOf(Today());
  const absl::StatusOr<TenantCounters::Counted> counted = counters->CountVideo(tenant.id, video, whole, hour);
  OnAnswer(counted.status());
  if (!counted.ok()) return std::nullopt;
  AllUse all{.too_many_videos = !counted->counted, .device = {}};
  int64_t at = hour - static_cast<int64_t>(counted->device_seconds.size());
  for (const double seconds : counted->device_seconds) {
    ++at;
    if (seconds > 0) all.device.Add(absl::Hours(at), seconds);
  }
  return all;
}

void Quotas::Impl::OnAnswer(const absl::Status& answer) {
  metrics->QuotasExchanged(answer.ok());
  if (answers.exchange(answer.ok()) == answer.ok()) return;
  if (answer.ok()) {
    logger->info("quotas count all servers again");
  } else {
    logger->error("quotas count this server alone: {}", std::string(answer.message()));
  }
}

void Quotas::Impl::Run() {
  MutexLock lock(mutex);
  while (!ended.WaitFor(lock, kExchangeEvery, [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) { return ending; })) {
    lock.Unlock();
    ExchangeCalls();
    TellDeviceSeconds();
    lock.Lock();
  }
  lock.Unlock();
  TellDeviceSeconds();  // of the last passes
}

void Quotas::Impl::ExchangeCalls() {
  std::vector<TenantCounters::Calls> told;
  {
    const MutexLock lock(mutex);
    for (auto& [tenant, used] : usage) {
      if (clock->Now() - used.called <= kListenFor) {
        told.push_back({tenant.id, std::exchange(used.untold_calls, 0)});
      } else {
        used.all_calls.reset();
      }
    }
  }
  if (told.empty()) return;
  const absl::StatusOr<std::vector<int64_t>> sums = counters->AddCalls(told);
  OnAnswer(sums.status());
  const MutexLock lock(mutex);
  for (size_t i = 0; i < told.size(); ++i) {
    const auto found = usage.find({told[i].tenant});
    if (found == usage.end()) continue;
    Usage& used = found->second;
    if (!sums.ok()) {
      // What happens until they answer again is never told: the others would stand still for as long.
      used.untold_calls = 0;
      used.all_calls.reset();
      continue;
    }
    const int64_t sum = (*sums)[i];
    const int64_t others = used.all_calls.has_value() ? sum - *used.all_calls - told[i].calls : 0;
    used.all_calls = sum;
    if (others > 0) used.calls.TakeForOthers(others);  // below 0: the counter has begun anew
  }
}

void Quotas::Impl::TellDeviceSeconds() {
  std::vector<TenantCounters::Used> told;
  std::set<std::string> tenants;
  {
    const MutexLock lock(mutex);
    const bool all = clock->Now() - told_all >= kTellAllEvery;
    if (all) told_all = clock->Now();
    for (auto& [tenant, used] : usage) {
      if (!std::exchange(used.untold_device, false) && !all) continue;
      tenants.insert(tenant.id);
      for (const auto& [hour, seconds] : used.device.Hours(Today())) told.push_back({tenant.id, hour, seconds});
    }
  }
  if (told.empty()) return;
  const absl::Status status = counters->SetUsed(told);
  OnAnswer(status);
  if (status.ok()) return;
  const MutexLock lock(mutex);
  for (auto& [tenant, used] : usage) used.untold_device = used.untold_device || tenants.contains(tenant.id);
}

}  // namespace longtake::server
