// What tenants may have, as an operator writes it.
#ifndef LONGTAKE_SERVER_ACCESS_QUOTA_TABLE_H_
#define LONGTAKE_SERVER_ACCESS_QUOTA_TABLE_H_

#include <map>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "server/video/tenant.h"

namespace longtake::server {

// Where there is no value there is no limit.
struct Quota {
  std::optional<double> concurrent_videos, device_seconds_a_day, queue_share, calls_a_second, watches;
};

class QuotaTable {
 public:
  // A JSON object of tenants, each an object of Quota's fields; "*" is every tenant that has no line of its own, and
  // what a tenant's line leaves out is as in "*". An error names `path`, the tenant and the field.
  static absl::StatusOr<QuotaTable> Parse(const std::string& path, const std::string& text);

  const Quota& Of(const Tenant& tenant) const;

 private:
  Quota others_;
  std::map<std::string, Quota> tenants_;
};

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_ACCESS_QUOTA_TABLE_H_
