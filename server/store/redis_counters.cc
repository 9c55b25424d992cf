#include "server/store/redis_counters.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/status_macros.h"
#include "server/store/redis_keys.h"

namespace longtake::server {
namespace {

constexpr int kHours = 24;
// An hour's seconds count for a day behind its beginning, and are told until its end.
constexpr char kUsedKept[] = "90000";
constexpr char kCallsKept[] = "120";

// Returns 1 if the video is counted, and the tenant's seconds in each hour. Numbers are texts: Redis cuts Lua's numbers
// to whole ones.
constexpr char kCountVideo[] = R"(
local counted = redis.call('SISMEMBER', KEYS[1], ARGV[1]) == 1
if not counted and (ARGV[3] == '' or redis.call('SCARD', KEYS[1]) < tonumber(ARGV[3])) then
  redis.call('SADD', KEYS[1], ARGV[1])
  redis.call('HSET', KEYS[2], 'tenant', ARGV[2])
  counted = true
end
local reply = {counted and '1' or '0'}
local last = tonumber(ARGV[5])
for hour = last - ARGV[6] + 1, last do
  local sum = 0
  local key = ARGV[4] .. string.format('%.0f', hour) .. ':' .. ARGV[2]
  for _, seconds in ipairs(redis.call('HVALS', key)) do sum = sum + tonumber(seconds) end
  reply[#reply + 1] = string.format('%.17g', sum)
end
return reply)";

constexpr char kSetUsed[] = R"(
for i, key in ipairs(KEYS) do
  redis.call('HSET', key, ARGV[1], ARGV[2 + i])
  redis.call('EXPIRE', key, ARGV[2])
end)";

constexpr char kAddCalls[] = R"(
local sums = {}
for i, key in ipairs(KEYS) do
  if ARGV[1 + i] == '0' then
    sums[i] = redis.call('GET', key) or '0'
  else
    sums[i] = string.format('%.0f', redis.call('INCRBY', key, ARGV[1 + i]))
    redis.call('EXPIRE', key, ARGV[1])
  end
end
return sums)";

absl::Status Strange(const char* what) {
  return absl::UnavailableError(absl::StrCat("registry: Redis has answered something else than ", what));
}

}  // namespace

absl::StatusOr<TenantCounters::Counted> RedisCounters::CountVideo(const std::string& tenant, const std::string& video,
                                                                  std::optional<int64_t> most, int64_t hour) {
  ASSIGN_OR_RETURN(const RedisReply reply, redis_->Eval(kCountVideo, {kMakingKey + tenant, kVideoKey + video},
                                                        {video, tenant, most.has_value() ? absl::StrCat(*most) : "",
                                                         kUsedKey, absl::StrCat(hour), absl::StrCat(kHours)}));
  if (reply.list.size() != 1 + kHours) return Strange("a tenant's use");
  Counted counted{.counted = reply.list[0] == "1", .device_seconds = {}};
  for (size_t i = 1; i < reply.list.size(); ++i) {
    double seconds = 0;
    if (!absl::SimpleAtod(reply.list[i], &seconds)) return Strange("a tenant's use");
    counted.device_seconds.push_back(seconds);
  }
  return counted;
}

absl::Status RedisCounters::SetUsed(const std::vector<Used>& used) {
  if (used.empty()) return absl::OkStatus();
  std::vector<std::string> keys, arguments = {server_, kUsedKept};
  for (const Used& each : used) {
    keys.push_back(absl::StrCat(kUsedKey, each.hour, ":", each.tenant));
    arguments.push_back(absl::StrFormat("%.6f", each.seconds));
  }
  return redis_->Eval(kSetUsed, keys, arguments).status();
}

absl::StatusOr<std::vector<int64_t>> RedisCounters::AddCalls(const std::vector<Calls>& calls) {
  std::vector<int64_t> sums;
  if (calls.empty()) return sums;
  std::vector<std::string> keys, arguments = {kCallsKept};
  for (const Calls& each : calls) {
    keys.push_back(kCallsKey + each.tenant);
    arguments.push_back(absl::StrCat(each.calls));
  }
  ASSIGN_OR_RETURN(const RedisReply reply, redis_->Eval(kAddCalls, keys, arguments));
  for (const std::string& text : reply.list) {
    int64_t sum = 0;
    if (!absl::SimpleAtoi(text, &sum)) return Strange("numbers of calls");
    sums.push_back(sum);
  }
  if (sums.size() != calls.size()) return Strange("numbers of calls");
  return sums;
}

}  // namespace longtake::server
