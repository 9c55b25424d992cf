#include <atomic>
#include <fstream>
#include <random>
#include <thread>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "common/mutex.h"
#include "common/status_macros.h"
#include "common/thread.h"
#include "server/store/redis.h"
#include "server/store/redis_counters.h"
#include "server/store/redis_keys.h"
#include "server/store/registry.h"
#include "spdlog/logger.h"

namespace longtake::server {
namespace {

// A request that is repeated later than this asks for another video.
constexpr absl::Duration kRequestKept = absl::Hours(24 * 7);
constexpr absl::Duration kTimeout = absl::Seconds(1);

// Returns 1 if the lease had not ended.
constexpr char kRenew[] = R"(
local held = redis.call('EXISTS', KEYS[1])
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
redis.call('ZADD', KEYS[2], now + ARGV[2], ARGV[3])
return held)";

constexpr char kEnd[] = R"(
redis.call('DEL', KEYS[1])
redis.call('ZREM', KEYS[2], ARGV[1]))";

// Returns 1 if there is another server whose lease has not ended.
constexpr char kOthers[] = R"(
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for _, server in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], now, '+inf')) do
  if server ~= ARGV[1] then return 1 end
end
return 0)";

// Returns the token, or 0 if a server that works owns the video. Tokens are microseconds of Redis' clock, so that they
// grow in a Redis that has forgotten the last one too; where the clock stands or goes back, they grow by one.
constexpr char kTake[] = R"(
local owner = redis.call('HGET', KEYS[1], 'owner')
if owner and owner ~= ARGV[1] and redis.call('EXISTS', ARGV[2] .. owner) == 1 then return 0 end
local time = redis.call('TIME')
local token = math.max(time[1] * 1000000 + time[2], tonumber(redis.call('GET', KEYS[2]) or 0) + 1)
token = string.format('%.0f', token)
redis.call('SET', KEYS[2], token)
redis.call('HSET', KEYS[1], 'owner', ARGV[1], 'token', token)
if ARGV[4] then redis.call('HSET', KEYS[1], 'tenant', ARGV[4]) end
redis.call('SADD', KEYS[3], ARGV[3])
return token)";

// Returns 1 if the video is this server's, with this token.
constexpr char kKeep[] = R"(
local owner, token = unpack(redis.call('HMGET', KEYS[1], 'owner', 'token'))
if owner == ARGV[1] and token == ARGV[2] then return 1 end
if owner or (token and token ~= ARGV[2]) then return 0 end
redis.call('HSET', KEYS[1], 'owner', ARGV[1], 'token', ARGV[2], 'tenant', ARGV[4])
redis.call('SADD', KEYS[2], ARGV[3])
redis.call('SADD', KEYS[3], ARGV[3])
return 1)";

constexpr char kRelease[] = R"(
if redis.call('HGET', KEYS[1], 'owner') ~= ARGV[1] or redis.call('HGET', KEYS[1], 'token') ~= ARGV[2] then return 0 end
if ARGV[3] == 'unfinished' then
  redis.call('HDEL', KEYS[1], 'owner')
  return 1
end
local tenant = redis.call('HGET', KEYS[1], 'tenant')
if tenant then redis.call('SREM', ARGV[5] .. tenant, ARGV[4]) end
if ARGV[3] == 'ended' then
  redis.call('DEL', KEYS[1])
  redis.call('SREM', KEYS[2], ARGV[4])
end
return 1)";

// Returns the owner, its address and the tenant, or nothing.
constexpr char kOwner[] = R"(
local owner, tenant = unpack(redis.call('HMGET', KEYS[1], 'owner', 'tenant'))
local address = owner and redis.call('GET', ARGV[1] .. owner)
if address then return {owner, address, tenant or ''} end
return {})";

constexpr char kOrphans[] = R"(
local orphans, works = {}, {}
for _, video in ipairs(redis.call('SMEMBERS', KEYS[1])) do
  local owner = redis.call('HGET', ARGV[1] .. video, 'owner')
  if owner and works[owner] == nil then works[owner] = redis.call('EXISTS', ARGV[2] .. owner) == 1 end
  if not owner or not works[owner] then orphans[#orphans + 1] = video end
end
return orphans)";

constexpr char kClaim[] = R"(
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'EX', ARGV[2]) then return ARGV[1] end
return redis.call('GET', KEYS[1]))";

constexpr char kForget[] = R"(
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end)";

// Returns 1 if this server leads.
constexpr char kLead[] = R"(
local leader = redis.call('GET', KEYS[1])
if leader and leader ~= ARGV[1] and redis.call('EXISTS', ARGV[2] .. leader) == 1 then return 0 end
redis.call('SET', KEYS[1], ARGV[1])
return 1)";

std::string NewServerId() {
  std::random_device random;
  return absl::StrFormat("%08x%08x", random(), random());
}

class RedisRegistry : public Registry {
 public:
  RedisRegistry(const RegistryOptions& options, RedisAddress address, std::string password, spdlog::logger* logger)
      : addresses_(absl::StrCat(options.address, " ", options.http_address)),
        lease_(options.lease),
        logger_(logger),
        redis_(std::move(address), std::move(password), kTimeout),
        id_(NewServerId()),
        counters_(&redis_, id_) {}
  ~RedisRegistry() override {
    {
      const MutexLock lock(mutex_);
      ending_ = true;
    }
    ended_.NotifyAll();
    if (thread_.joinable()) thread_.join();
    Log(redis_.Eval(kEnd, {ServerKey(), kServersKey}, {id_}).status());
  }

  absl::Status Start() {
    RETURN_IF_ERROR(Renew().status());
    ASSIGN_OR_RETURN(thread_, StartThread("the registry's thread", [this] { Run(); }));
    return absl::OkStatus();
  }

  absl::StatusOr<std::string> ClaimRequest(const std::string& tenant, const std::string& request_id,
                                           const std::string& video) override {
    ASSIGN_OR_RETURN(const RedisReply reply, redis_.Eval(kClaim, {RequestKey(tenant, request_id)},
                                                         {video, absl::StrCat(absl::ToInt64Seconds(kRequestKept))}));
    return reply.text;
  }
  absl::StatusOr<std::string> FindRequest(const std::string& tenant, const std::string& request_id) override {
    ASSIGN_OR_RETURN(RedisReply reply, redis_.Command({"GET", RequestKey(tenant, request_id)}));
    return std::move(reply.text);
  }
  void ForgetRequest(const std::string& tenant, const std::string& request_id, const std::string& video) override {
    Log(redis_.Eval(kForget, {RequestKey(tenant, request_id)}, {video}).status());
  }

  absl::StatusOr<uint64_t> Take(const std::string& video, const std::optional<std::string>& tenant) override {
    std::vector<std::string> arguments = {id_, kServerKey, video};
    if (tenant.has_value()) arguments.push_back(*tenant);
    ASSIGN_OR_RETURN(const RedisReply reply,
                     redis_.Eval(kTake, {kVideoKey + video, kTokenKey, kUnfinishedKey}, arguments));
    uint64_t token = 0;
    if (reply.number == 0 && !absl::SimpleAtoi(reply.text, &token)) {
      return absl::FailedPreconditionError(absl::StrCat("another server makes ", video));
    }
    return token;
  }
  void Release(const std::string& video, uint64_t token, Left left) override {
    Released released{.video = video, .token = token, .left = left};
    const absl::Status told = TellReleased(released);
    if (told.ok()) return;
    Log(told);
    const MutexLock lock(mutex_);
    untold_.push_back(std::move(released));
  }
  absl::StatusOr<bool> Keep(const std::string& tenant, const std::string& video, uint64_t token) override {
    ASSIGN_OR_RETURN(const RedisReply reply,
                     redis_.Eval(kKeep, {kVideoKey + video, kUnfinishedKey, kMakingKey + tenant},
                                 {id_, absl::StrCat(token), video, tenant}));
    return reply.number == 1;
  }
  absl::StatusOr<std::optional<Owner>> OwnerOf(const std::string& video) override {
    ASSIGN_OR_RETURN(const RedisReply reply, redis_.Eval(kOwner, {kVideoKey + video}, {kServerKey}));
    if (reply.list.size() != 3) return std::nullopt;
    const std::pair<std::string, std::string> addresses = absl::StrSplit(reply.list[1], absl::MaxSplits(' ', 1));
    return Owner{.address = addresses.first,
                 .http_address = addresses.second,
                 .self = reply.list[0] == id_,
                 .tenant = reply.list[2]};
  }

  void AddUnfinished(const std::string& video) override {
    Log(redis_.Command({"SADD", kUnfinishedKey, video}).status());
  }
  absl::StatusOr<std::vector<std::string>> Orphans() override {
    ASSIGN_OR_RETURN(RedisReply reply, redis_.Eval(kOrphans, {kUnfinishedKey}, {kVideoKey, kServerKey}));
    return std::move(reply.list);
  }

  void AddVideo(const std::string& tenant, const std::string& video, absl::Time create_time) override {
    Log(redis_.Command({"ZADD", kVideosKey + tenant, absl::StrCat(absl::ToUnixMicros(create_time)), video}).status());
  }
  void RemoveVideo(const std::string& tenant, const std::string& video) override {
    Log(redis_.Command({"ZREM", kVideosKey + tenant, video}).status());
  }
  absl::StatusOr<std::vector<Listed>> ListVideos(const std::string& tenant, const std::optional<Listed>& behind,
                                                 int count) override {
    // Of one microsecond the larger name comes first. Those that are passed over are of the same one as `behind`.
    const std::string from =
        behind.has_value() ? absl::StrCat(absl::ToUnixMicros(behind->create_time)) : std::string("+inf");
    std::vector<Listed> found;
    for (int offset = 0; static_cast<int>(found.size()) < count;) {
      ASSIGN_OR_RETURN(const RedisReply reply,
                       redis_.Command({"ZREVRANGEBYSCORE", kVideosKey + tenant, from, "-inf", "WITHSCORES", "LIMIT",
                                       absl::StrCat(offset), absl::StrCat(count)}));
      for (size_t i = 0; i + 1 < reply.list.size(); i += 2) {
        int64_t micros = 0;
        if (!absl::SimpleAtoi(reply.list[i + 1], &micros)) continue;
        const Listed one{.video = reply.list[i], .create_time = absl::FromUnixMicros(micros)};
        const bool passed = behind.has_value() && one.create_time == behind->create_time && one.video >= behind->video;
        if (!passed && static_cast<int>(found.size()) < count) found.push_back(one);
      }
      if (static_cast<int>(reply.list.size()) < 2 * count) break;
      offset += count;
    }
    return found;
  }

  TenantCounters& counters() override { return counters_; }

  absl::StatusOr<bool> Leads() override {
    ASSIGN_OR_RETURN(const RedisReply reply, redis_.Eval(kLead, {kLeaderKey}, {id_, kServerKey}));
    return reply.number == 1;
  }

  uint64_t lapses() const override { return lapses_; }
  bool has_others() override {
    const absl::StatusOr<RedisReply> reply = redis_.Eval(kOthers, {kServersKey}, {id_});
    Log(reply.status());
    return reply.ok() && reply->number == 1;
  }

 private:
  std::string ServerKey() const { return kServerKey + id_; }
  static std::string RequestKey(const std::string& tenant, const std::string& request_id) {
    return absl::StrCat(kRequestKey, tenant.size(), ":", tenant, ":", request_id);
  }
  void Log(const absl::Status& status) const {
    if (!status.ok()) logger_->error("{}", std::string(status.message()));
  }
  struct Released {
    std::string video;
    uint64_t token = 0;
    Left left = Left::kEnded;
  };
  static const char* NameOf(Left left) {
    switch (left) {
      case Left::kUnfinished:
        return "unfinished";
      case Left::kEnded:
        return "ended";
      case Left::kEndedUnstored:
        return "unstored";
    }
    return "ended";
  }
  absl::Status TellReleased(const Released& released) {
    return redis_
        .Eval(kRelease, {kVideoKey + released.video, kUnfinishedKey},
              {id_, absl::StrCat(released.token), NameOf(released.left), released.video, kMakingKey})
        .status();
  }
  // Tells what could not be told while Redis was away. Otherwise such a video would count as being made for as long as
  // this server works.
  void TellUntold() {
    std::vector<Released> untold;
    {
      const MutexLock lock(mutex_);
      untold.swap(untold_);
    }
    for (const Released& each : untold) Release(each.video, each.token, each.left);
  }
  // Whether the lease had not ended.
  absl::StatusOr<bool> Renew() {
    ASSIGN_OR_RETURN(const RedisReply reply,
                     redis_.Eval(kRenew, {ServerKey(), kServersKey},
                                 {addresses_, absl::StrCat(absl::ToInt64Milliseconds(lease_)), id_}));
    return reply.number == 1;
  }

  void Run() {
    bool answers = true;
    MutexLock lock(mutex_);
    while (!ended_.WaitFor(lock, lease_ / 3, [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return ending_; })) {
      lock.Unlock();
      const absl::StatusOr<bool> held = Renew();
      if (held.ok() != answers) {
        answers = held.ok();
        // What is being made goes on: while Redis is away nobody can take it.
        if (answers) logger_->info("the registry answers again");
        if (!answers) Log(held.status());
      }
      if (held.ok() && !*held) {
        ++lapses_;
        logger_->warn("the lease had ended: others may have taken videos of this server");
      }
      if (held.ok()) TellUntold();
      lock.Lock();
    }
  }

  const std::string addresses_;
  const absl::Duration lease_;
  spdlog::logger* const logger_;
  Redis redis_;
  const std::string id_;  // of this process
  RedisCounters counters_;
  std::atomic<uint64_t> lapses_ = 0;
  Mutex mutex_;
  ConditionVariable ended_;
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<Released> untold_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

absl::StatusOr<std::string> ReadPassword(const std::string& file) {
  if (file.empty()) return std::string();
  std::ifstream in(file);
  std::string password;
  if (!std::getline(in, password) || password.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(file, ": there is no password in its first line"));
  }
  return password;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Registry>> OpenRedisRegistry(const RegistryOptions& options, spdlog::logger* logger) {
  ASSIGN_OR_RETURN(RedisAddress address, ParseRedisUrl(options.url));
  ASSIGN_OR_RETURN(std::string password, ReadPassword(options.password_file));
  auto registry = std::make_unique<RedisRegistry>(options, std::move(address), std::move(password), logger);
  RETURN_IF_ERROR(registry->Start());
  return registry;
}

}  // namespace longtake::server
