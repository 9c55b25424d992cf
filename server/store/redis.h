// A connection to a Redis server.
#ifndef LONGTAKE_SERVER_STORE_REDIS_H_
#define LONGTAKE_SERVER_STORE_REDIS_H_

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/mutex.h"

struct redisContext;
struct redisReader;
struct redisReply;

namespace longtake::server {

struct RedisAddress {
  std::string host;
  int port = 6379;
};
// Of "redis://host:port" or "redis://host"; InvalidArgument.
absl::StatusOr<RedisAddress> ParseRedisUrl(const std::string& url);

struct RedisReply {
  bool nil = false;
  int64_t number = 0;
  std::string text;
  std::vector<std::string> list;
};
// Refuses lists of more elements than any reply to us has. Without it hiredis makes room for two thousand million when
// the first bytes of a reply say so, and visits all of it to free it: six seconds in which nothing else is asked.
void SetLimits(redisReader& reader);
// Of a reply that hiredis has read; Internal: what Redis says is wrong with the command.
absl::StatusOr<RedisReply> ToReply(const redisReply& reply);

// Connects when it is used, and again after an error. Thread-safe: calls wait for each other, and for Redis as long as
// `timeout`. Where Redis did not answer, calls fail at once for as long again, so that a dead one is not waited for by
// everybody in turn.
class Redis {
 public:
  Redis(RedisAddress address, std::string password, absl::Duration timeout);
  ~Redis();

  // Unavailable; Internal: what Redis says is wrong with the command.
  absl::StatusOr<RedisReply> Command(const std::vector<std::string>& words);
  // A Lua script, which Redis carries out at once and without others between.
  absl::StatusOr<RedisReply> Eval(const char* script, const std::vector<std::string>& keys,
                                  const std::vector<std::string>& arguments);

 private:
  absl::StatusOr<RedisReply> Ask(const std::vector<std::string>& words) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Connect() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Failed(const std::string& what) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const RedisAddress address_;
  const std::string password_;
  const absl::Duration timeout_;
  Mutex mutex_;
  std::unique_ptr<redisContext, void (*)(redisContext*)> context_ ABSL_GUARDED_BY(mutex_);
  absl::Status last_error_ ABSL_GUARDED_BY(mutex_);
  std::chrono::steady_clock::time_point try_again_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_STORE_REDIS_H_
