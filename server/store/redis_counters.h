// Tenants' counters in Redis.
#ifndef LONGTAKE_SERVER_STORE_REDIS_COUNTERS_H_
#define LONGTAKE_SERVER_STORE_REDIS_COUNTERS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "server/store/redis.h"
#include "server/store/tenant_counters.h"

namespace longtake::server {

class RedisCounters : public TenantCounters {
 public:
  // `redis` outlives it. `server`: of this process.
  RedisCounters(Redis* redis, std::string server) : redis_(redis), server_(std::move(server)) {}

  absl::StatusOr<Counted> CountVideo(const std::string& tenant, const std::string& video, std::optional<int64_t> most,
                                     int64_t hour) override;
  absl::Status SetUsed(const std::vector<Used>& used) override;
  absl::StatusOr<std::vector<int64_t>> AddCalls(const std::vector<Calls>& calls) override;

 private:
  Redis* const redis_;
  const std::string server_;
};

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_STORE_REDIS_COUNTERS_H_
