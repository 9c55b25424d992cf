// The inside of Quotas.
#ifndef LONGTAKE_SERVER_ACCESS_QUOTAS_IMPL_H_
#define LONGTAKE_SERVER_ACCESS_QUOTAS_IMPL_H_

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/clock.h"
#include "common/mutex.h"
#include "server/access/access.h"
#include "server/access/quota_table.h"
#include "server/access/usage.h"
#include "server/access/watched_file.h"
#include "server/store/tenant_counters.h"

namespace longtake::server {

// Tenants without anything open are forgotten once there are so many, and again each time their number has doubled.
inline constexpr size_t kRememberTenants = 1000;

// Of one tenant.
struct Usage {
  int videos = 0, watches = 0;
  std::array<int, 2> waiting = {};  // by delivery
  CallBucket calls;
  UsedToday device;

  // Of what is shared with other servers.
  int64_t untold_calls = 0;
  std::optional<int64_t> all_calls;  // the sum over all servers when it was asked for last
  absl::Duration called = -absl::InfiniteDuration();
  bool untold_device = false;

  bool Idle(absl::Duration now, absl::Duration today) const {
    return videos == 0 && watches == 0 && calls.Full(now) && device.Sum(today) == 0;
  }
};

struct Quotas::Impl {
  struct Entry {
    Tenant tenant;
    size_t delivery = 0;
    bool waits = false;
  };

  ~Impl() {
    {
      const MutexLock lock(mutex);
      ending = true;
    }
    ended.NotifyAll();
    if (thread.joinable()) thread.join();
  }

  absl::Duration Today() const { return now() - absl::UnixEpoch(); }
  Usage& UsageOf(const Tenant& tenant) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex);
  void Wait(Entry& entry, bool waits) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    if (entry.waits == waits) return;
    entry.waits = waits;
    UsageOf(entry.tenant).waiting[entry.delivery] += waits ? 1 : -1;
  }
  // QUOTA_EXCEEDED, which is counted.
  absl::Status Exceeded(const Tenant& tenant, const char* quota, double limit, const char* of,
                        std::optional<absl::Duration> retry = {}) const;
  // Over all servers; nothing: this one alone counts.
  struct AllUse {
    bool too_many_videos = false;
    UsedToday device;
  };
  // Counts the video there, if it is not too many.
  std::optional<AllUse> CountAtAll(const Tenant& tenant, const std::string& video, std::optional<double> most);
  absl::Status Check(const Tenant& tenant, const Quota& quota, const Usage& used, const std::optional<AllUse>& all,
                     size_t delivery) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex);
  // Of the counters. Says once that they are away, and once that they are back.
  void OnAnswer(const absl::Status& answer);
  void ExchangeCalls();
  void TellDeviceSeconds();
  void Run();  // thread's
  // Of a share. At least one, or a small share of a short queue would be none.
  double QueuePlaces(double share) const { return share == 0 ? 0 : std::max(1.0, std::floor(share * max_waiting)); }
  void CloseWatch(const Tenant& tenant) {
    const MutexLock lock(mutex);
    --UsageOf(tenant).watches;
  }

  int max_waiting = 0;
  const Clock* clock = nullptr;
  Metrics* metrics = nullptr;
  spdlog::logger* logger = nullptr;
  std::function<absl::Time()> now;
  TenantCounters* counters = nullptr;             // null: no other server counts
  std::atomic<bool> answers = true;               // the counters did the last time
  std::unique_ptr<WatchedFile<QuotaTable>> file;  // null: nothing is limited, and nothing counted
  Mutex mutex;
  std::map<Tenant, Usage> usage ABSL_GUARDED_BY(mutex);
  size_t forget_at ABSL_GUARDED_BY(mutex) = kRememberTenants;
  std::map<uint64_t, Entry> videos ABSL_GUARDED_BY(mutex);
  absl::Duration told_all ABSL_GUARDED_BY(mutex);  // device seconds of all tenants
  ConditionVariable ended;
  bool ending ABSL_GUARDED_BY(mutex) = false;
  std::thread thread;
};

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_ACCESS_QUOTAS_IMPL_H_
