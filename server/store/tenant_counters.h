// What tenants have and use at all servers that share a store.
#ifndef LONGTAKE_SERVER_STORE_TENANT_COUNTERS_H_
#define LONGTAKE_SERVER_STORE_TENANT_COUNTERS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace longtake::server {

// Thread-safe; errors and waiting times are Registry's. Every call may be repeated without counting anything twice,
// except AddCalls.
class TenantCounters {
 public:
  virtual ~TenantCounters() = default;

  struct Counted {
    bool counted = false;                // the video is among those of the tenant that are being made
    std::vector<double> device_seconds;  // of the tenant's videos in each of the 24 hours that end with `hour`
  };
  // Counts a video of this server (Registry::Take) as one that is being made, unless the tenant has `most` of them
  // already; nothing: no limit. It is counted once, whichever servers make it one after the other, until
  // Registry::Release says that it has ended. `hour`: the present one, in hours since 1970.
  virtual absl::StatusOr<Counted> CountVideo(const std::string& tenant, const std::string& video,
                                             std::optional<int64_t> most, int64_t hour) = 0;

  struct Used {
    std::string tenant;
    int64_t hour = 0;
    double seconds = 0;
  };
  // The device seconds that this server has spent on tenants in whole hours, in place of what it said of these before.
  virtual absl::Status SetUsed(const std::vector<Used>& used) = 0;

  struct Calls {
    std::string tenant;
    int64_t calls = 0;
  };
  // Adds calls that this server has let in. Returns the sum over all servers for each of the tenants; it begins anew
  // where nobody has added anything for two minutes. After an error it is unknown whether the calls were added.
  virtual absl::StatusOr<std::vector<int64_t>> AddCalls(const std::vector<Calls>& calls) = 0;
};

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_STORE_TENANT_COUNTERS_H_
