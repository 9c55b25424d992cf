#include "server/store/s3/client.h"

#include <algorithm>
#include <random>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/status_macros.h"
#include "server/store/s3/signature.h"
#include "server/telemetry/log_format.h"
#include "spdlog/logger.h"

namespace longtake::server {
namespace {

// A service in the same region connects within some milliseconds.
constexpr absl::Duration kConnect = absl::Seconds(3);
constexpr absl::Duration kFirstPause = absl::Milliseconds(100), kLongestPause = absl::Seconds(5);
constexpr absl::Duration kReadRetry = absl::Seconds(2);
// S3's longest object that is written at once has 5 GiB. A checkpoint of the 2B model has 430 MiB.
constexpr size_t kMostBytes = size_t{5} << 30;
// Of what S3 says of an error.
constexpr size_t kMostWords = 200;

// A random part of it, so that servers that failed together do not come back together.
absl::Duration Jittered(absl::Duration pause) {
  std::random_device random;
  return pause * std::uniform_real_distribution<double>(0.5, 1.0)(random);
}

}  // namespace

S3Client::S3Client(S3Address address, S3Options options, AwsCredentials credentials, spdlog::logger* logger)
    : address_(std::move(address)), options_(std::move(options)), logger_(logger), keys_(std::move(credentials)) {}

absl::StatusOr<S3Client::Object> S3Client::Get(const std::string& key, const std::optional<Range>& range) const {
  Call call{.what = "read", .method = "GET", .key = key};
  if (range.has_value()) {
    call.headers["range"] = absl::StrCat("bytes=", range->offset, "-", range->offset + range->size - 1);
  }
  ASSIGN_OR_RETURN(CurlClient::Answer answer, Ask(call, std::min(options_.retry, kReadRetry)));
  // A service that knows no ranges sends all of it.
  if (range.has_value() && answer.status == 200) {
    if (static_cast<int64_t>(answer.body.size()) < range->offset) answer.body.clear();
    answer.body = answer.body.substr(std::min<size_t>(answer.body.size(), range->offset), range->size);
  }
  if (range.has_value() && static_cast<int64_t>(answer.body.size()) != range->size) {
    return absl::UnavailableError(absl::StrCat("store: cannot read ", NameOf(key), ": it has ", answer.body.size(),
                                               " bytes where ", range->size, " were asked for"));
  }
  return Object{std::move(answer.body), answer.headers["etag"]};
}

absl::StatusOr<std::string> S3Client::Put(const std::string& key, const std::string& bytes,
                                          const Condition& condition) const {
  Call call{.what = "write", .method = "PUT", .key = key, .body = &bytes};
  call.headers["content-type"] = "application/octet-stream";
  if (!condition.if_match.empty()) call.headers["if-match"] = condition.if_match;
  if (condition.if_absent) call.headers.emplace("if-none-match", "*");
  absl::StatusOr<CurlClient::Answer> answer = Ask(call, options_.retry);
  // Of an object that should be there and is not, Amazon says 404 and Ceph 412.
  if (absl::IsNotFound(answer.status()) && !condition.if_match.empty()) {
    return absl::FailedPreconditionError(answer.status().message());
  }
  RETURN_IF_ERROR(answer.status());
  std::string etag = answer->headers["etag"];
  if (!etag.empty()) return etag;
  return absl::UnavailableError(absl::StrCat("store: cannot write ", NameOf(key), ": the answer has no ETag"));
}

absl::Status S3Client::Delete(const std::string& key) const {
  const absl::Status status = Ask({.what = "remove", .method = "DELETE", .key = key}, options_.retry).status();
  return absl::IsNotFound(status) ? absl::OkStatus() : status;
}

absl::StatusOr<std::vector<std::string>> S3Client::List(const std::string& begin, bool deep) const {
  const std::string whole = address_.prefix.empty() ? begin : absl::StrCat(address_.prefix, "/", begin);
  Call call{.what = "list", .method = "GET", .key = begin};
  call.query = {{"list-type", "2"}, {"prefix", whole}, {"max-keys", absl::StrCat(options_.page_keys)}};
  if (!deep) call.query.emplace("delimiter", "/");
  std::vector<std::string> found;
  while (true) {
    ASSIGN_OR_RETURN(const CurlClient::Answer answer, Ask(call, std::min(options_.retry, kReadRetry)));
    absl::StatusOr<ListedPage> page = ParseListing(answer.body);
    if (!page.ok()) {
      return absl::UnavailableError(absl::StrCat("store: cannot list ", NameOf(begin), ": ", page.status().message()));
    }
    for (const std::vector<std::string>* names : {&page->keys, &page->prefixes}) {
      for (const std::string& name : *names) {
        if (absl::StartsWith(name, whole)) found.push_back(name.substr(whole.size()));
      }
    }
    if (page->next.empty()) break;
    call.query["continuation-token"] = page->next;
  }
  std::sort(found.begin(), found.end());
  found.erase(std::unique(found.begin(), found.end()), found.end());
  return found;
}

std::string S3Client::NameOf(const std::string& key) const {
  return absl::StrCat(kS3Scheme, address_.bucket, "/", address_.prefix, address_.prefix.empty() ? "" : "/", key);
}

absl::StatusOr<CurlClient::Answer> S3Client::Ask(const Call& call, absl::Duration retry) const {
  const std::string body_sha256 = Sha256(call.body == nullptr ? "" : *call.body);
  const absl::Time give_up = absl::Now() + retry;
  absl::Duration pause = kFirstPause;
  AwsCredentials used = keys();
  bool read_keys = false;
  while (true) {
    absl::StatusOr<CurlClient::Answer> answer = AskOnce(call, body_sha256, used);
    absl::Status failed = answer.status();
    if (answer.ok()) {
      if (answer->status / 100 == 2) {
        SetAway(false, absl::OkStatus());
        return answer;
      }
      const S3Error error = ParseError(answer->body);
      failed = ErrorOf(call, answer->status, error);
      if (IsOfOldKeys(answer->status, error.code) && !std::exchange(read_keys, true)) {
        ReadKeysAgain();
        if (keys() != used) {
          used = keys();
          continue;
        }
      }
      if (!IsTransient(answer->status, error.code)) return failed;
    } else {
      failed = absl::UnavailableError(
          absl::StrCat("store: cannot ", call.what, " ", NameOf(call.key), ": ", failed.message()));
    }
    const absl::Duration wait = Jittered(pause);
    if (away_ || absl::Now() + wait > give_up) {
      if (call.method != "GET") SetAway(true, failed);
      return failed;
    }
    absl::SleepFor(wait);
    pause = std::min(2 * pause, kLongestPause);
  }
}

absl::StatusOr<CurlClient::Answer> S3Client::AskOnce(const Call& call, const std::string& body_sha256,
                                                     const AwsCredentials& keys) const {
  const bool of_bucket = !call.query.empty();
  AwsRequest request{.method = call.method,
                     .host = address_.host,
                     .path = address_.path,
                     .query = call.query,
                     .headers = call.headers,
                     .body_sha256 = body_sha256};
  if (!of_bucket) {
    absl::StrAppend(&request.path, address_.prefix, address_.prefix.empty() ? "" : "/", call.key);
  }
  std::string url = absl::StrCat(address_.scheme, "://", request.host, request.path);
  if (of_bucket) absl::StrAppend(&url, "?", EncodedQuery(call.query));
  std::vector<std::string> headers = SignedHeaders(request, keys, options_.region, absl::Now());
  headers.emplace_back("Expect:");  // curl would wait for a second where a service does not know 100 Continue

  std::unique_ptr<CurlClient> client;
  {
    const MutexLock lock(mutex_);
    if (!idle_.empty()) {
      client = std::move(idle_.back());
      idle_.pop_back();
    }
  }
  if (client == nullptr) {
    client = std::make_unique<CurlClient>(CurlClient::Options{.connect_timeout = kConnect,
                                                              .stall_timeout = options_.stall,
                                                              .most_bytes = kMostBytes,
                                                              .authorities = options_.authorities});
  }
  absl::StatusOr<CurlClient::Answer> answer =
      client->Send({.method = call.method, .url = url, .headers = headers, .body = call.body});
  const MutexLock lock(mutex_);
  idle_.push_back(std::move(client));
  return answer;
}

absl::Status S3Client::ErrorOf(const Call& call, int status, const S3Error& error) const {
  std::string said = absl::StrCat(status, error.code.empty() ? "" : " ", error.code);
  const AwsCredentials used = keys();
  const bool has_keys = absl::StrContains(error.message, used.key_id) || absl::StrContains(error.message, used.secret);
  if (!error.message.empty() && !has_keys) absl::StrAppend(&said, ": ", error.message.substr(0, kMostWords));
  const std::string message = absl::StrCat("store: cannot ", call.what, " ", NameOf(call.key), ": ", said);
  // Any server answers 404; only S3 says that it is of the object.
  if (status == 404 && error.code == "NoSuchKey") return absl::NotFoundError(message);
  if (status == 412) return absl::FailedPreconditionError(message);
  const bool full = status == 507 || error.code == "QuotaExceeded" || error.code == "EntityTooLarge";
  return full ? absl::ResourceExhaustedError(message) : absl::UnavailableError(message);
}

void S3Client::ReadKeysAgain() const {
  if (options_.credentials_file.empty()) return;
  absl::StatusOr<AwsCredentials> read = ReadCredentials(options_.credentials_file);
  if (!read.ok()) return;  // it is being replaced: the error of the old keys is told
  const MutexLock lock(mutex_);
  keys_ = *std::move(read);
}

void S3Client::SetAway(bool away, const absl::Status& why) const {
  if (away_.exchange(away) == away) return;
  if (away) {
    logger_->warn("the store does not work: requests are not tried again until it does error={}",
                  LogValue(why.message()));
  } else {
    logger_->info("the store works again");
  }
}

AwsCredentials S3Client::keys() const {
  const MutexLock lock(mutex_);
  return keys_;
}

}  // namespace longtake::server
