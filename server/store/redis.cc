#include "server/store/redis.h"

#include <hiredis/hiredis.h>
#include <sys/time.h>

#include <algorithm>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "common/status_macros.h"

namespace longtake::server {
namespace {

using Reply = std::unique_ptr<redisReply, void (*)(void*)>;

const redisReplyObjectFunctions& HiredisFunctions() {
  static const redisReplyObjectFunctions functions = [] {
    const std::unique_ptr<redisReader, void (*)(redisReader*)> reader(redisReaderCreate(), redisReaderFree);
    return *reader->fn;
  }();
  return functions;
}

// In place of hiredis' own, which has no limit. Nothing: the reply fails as if there were no memory for it.
void* CreateArray(const redisReadTask* task, int elements) {
  constexpr int kMostElements = 1 << 20;  // videos that are to be made: far more than servers can make
  return elements > kMostElements ? nullptr : HiredisFunctions().createArray(task, elements);
}

std::string TextOf(const redisReply& reply) { return {reply.str, reply.len}; }

}  // namespace

absl::StatusOr<RedisAddress> ParseRedisUrl(const std::string& url) {
  absl::string_view rest = url;
  RedisAddress address;
  bool right = absl::ConsumePrefix(&rest, "redis://");
  const bool bracketed = absl::ConsumePrefix(&rest, "[");  // an IPv6 address
  const size_t end = std::min(rest.find(bracketed ? ']' : ':'), rest.size());
  address.host = std::string(rest.substr(0, end));
  rest.remove_prefix(end);
  if (bracketed) right = right && absl::ConsumePrefix(&rest, "]");
  right = right && !address.host.empty() && address.host.find_first_of("/@ ") == std::string::npos;
  if (!rest.empty()) {
    right = right && absl::ConsumePrefix(&rest, ":") && absl::SimpleAtoi(rest, &address.port) && address.port >= 1 &&
            address.port <= 65535;
  }
  if (!right) return absl::InvalidArgumentError(absl::StrCat("\"", url, "\" is not redis://host:port"));
  return address;
}

void SetLimits(redisReader& reader) {
  // hiredis writes to none of them; it only wants a pointer that it could write by.
  static redisReplyObjectFunctions functions = [] {
    redisReplyObjectFunctions limited = HiredisFunctions();
    limited.createArray = CreateArray;
    return limited;
  }();
  reader.fn = &functions;
}

absl::StatusOr<RedisReply> ToReply(const redisReply& reply) {
  RedisReply out;
  switch (reply.type) {
    case REDIS_REPLY_ERROR:
      return absl::InternalError(absl::StrCat("registry: ", TextOf(reply)));
    case REDIS_REPLY_NIL:
      out.nil = true;
      break;
    case REDIS_REPLY_INTEGER:
      out.number = reply.integer;
      break;
    case REDIS_REPLY_ARRAY:
      for (size_t i = 0; i < reply.elements; ++i) out.list.push_back(TextOf(*reply.element[i]));
      break;
    default:
      out.text = TextOf(reply);
  }
  return out;
}

Redis::Redis(RedisAddress address, std::string password, absl::Duration timeout)
    : address_(std::move(address)),
      password_(std::move(password)),
      timeout_(timeout),
      context_(nullptr, [](redisContext* context) { redisFree(context); }) {}

Redis::~Redis() = default;

absl::Status Redis::Failed(const std::string& what) {
  context_.reset();
  last_error_ =
      absl::UnavailableError(absl::StrCat("registry: Redis at ", address_.host, ":", address_.port, ": ", what));
  try_again_ = std::chrono::steady_clock::now() + absl::ToChronoNanoseconds(timeout_);
  return last_error_;
}

absl::Status Redis::Connect() {
  if (context_ != nullptr) return absl::OkStatus();
  if (std::chrono::steady_clock::now() < try_again_) return last_error_;
  const timeval limit = absl::ToTimeval(timeout_);
  context_.reset(redisConnectWithTimeout(address_.host.c_str(), address_.port, limit));
  if (context_ == nullptr) return Failed("no memory for a connection");
  if (context_->err != 0) return Failed(context_->errstr);
  SetLimits(*context_->reader);
  if (redisSetTimeout(context_.get(), limit) != REDIS_OK) return Failed(context_->errstr);
  if (password_.empty()) return absl::OkStatus();
  const absl::Status let_in = Ask({"AUTH", password_}).status();
  return let_in.ok() ? let_in : Failed(std::string(let_in.message()));
}

absl::StatusOr<RedisReply> Redis::Ask(const std::vector<std::string>& words) {
  std::vector<const char*> texts;
  std::vector<size_t> sizes;
  for (const std::string& word : words) {
    texts.push_back(word.data());
    sizes.push_back(word.size());
  }
  const Reply reply(static_cast<redisReply*>(
                        redisCommandArgv(context_.get(), static_cast<int>(words.size()), texts.data(), sizes.data())),
                    freeReplyObject);
  // After a timeout the next reply would be this command's, so the connection is given up.
  if (reply == nullptr) return Failed(context_->errstr);
  return ToReply(*reply);
}

absl::StatusOr<RedisReply> Redis::Command(const std::vector<std::string>& words) {
  const MutexLock lock(mutex_);
  // Redis may have been restarted since the last command. All that is asked may be asked twice.
  const bool fresh = context_ == nullptr;
  RETURN_IF_ERROR(Connect());
  absl::StatusOr<RedisReply> reply = Ask(words);
  if (fresh || !absl::IsUnavailable(reply.status())) return reply;
  try_again_ = {};
  RETURN_IF_ERROR(Connect());
  return Ask(words);
}

absl::StatusOr<RedisReply> Redis::Eval(const char* script, const std::vector<std::string>& keys,
                                       const std::vector<std::string>& arguments) {
  std::vector<std::string> words = {"EVAL", script, absl::StrCat(keys.size())};
  words.insert(words.end(), keys.begin(), keys.end());
  words.insert(words.end(), arguments.begin(), arguments.end());
  return Command(words);
}

}  // namespace longtake::server
