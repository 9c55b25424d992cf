// The address of a Redis server, and its replies. The first line says which.
#include "server/store/redis.h"

#include <hiredis/hiredis.h>

#include <cstdint>
#include <memory>
#include <string>

#include "tests/fuzz/check.h"

namespace longtake::server {
namespace {

using fuzz::Check;

void ReadUrl(const std::string& url) {
  const absl::StatusOr<RedisAddress> address = ParseRedisUrl(url);
  if (!address.ok()) return;
  Check(!address->host.empty() && address->port >= 1 && address->port <= 65535, "an address of no host or port");
}

void ReadReplies(std::string_view bytes) {
  const std::unique_ptr<redisReader, void (*)(redisReader*)> reader(redisReaderCreate(), redisReaderFree);
  SetLimits(*reader);
  if (redisReaderFeed(reader.get(), bytes.data(), bytes.size()) != REDIS_OK) return;
  while (true) {
    void* read = nullptr;
    if (redisReaderGetReply(reader.get(), &read) != REDIS_OK || read == nullptr) return;
    const std::unique_ptr<redisReply, void (*)(void*)> reply(static_cast<redisReply*>(read), freeReplyObject);
    const absl::StatusOr<RedisReply> ours = ToReply(*reply);
    Check(ours.ok() || absl::IsInternal(ours.status()), "a reply is another error than Internal");
  }
}

}  // namespace
}  // namespace longtake::server

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const longtake::fuzz::Input input = longtake::fuzz::SplitKind(longtake::fuzz::ToText(data, size));
  if (input.kind == "url") longtake::server::ReadUrl(std::string(input.rest));
  if (input.kind == "replies") longtake::server::ReadReplies(input.rest);
  return 0;
}
