// Requests to S3, which are signed, tried again, and turned into statuses.
#ifndef LONGTAKE_SERVER_STORE_S3_CLIENT_H_
#define LONGTAKE_SERVER_STORE_S3_CLIENT_H_

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/curl_client.h"
#include "common/mutex.h"
#include "server/store/s3/address.h"
#include "server/store/s3/answers.h"
#include "server/store/s3/options.h"

namespace spdlog {
class logger;
}

namespace longtake::server {

// Objects of one bucket by their keys, all below the address' prefix. Thread-safe; each call has a connection to
// itself, which others use after it.
//
// A request without an answer, or with one that says that the service is busy, is tried again with growing pauses: a
// write for S3Options::retry, a read for two seconds at most, because somebody waits for it. Once a write was in vain,
// the next requests are tried once each until one succeeds, so that a dead service is not waited for by everybody in
// turn.
//
// Errors: NotFound of an object, FailedPrecondition of a condition, ResourceExhausted where there is no space, else
// Unavailable. They name the object and what S3 says, and have nothing of the keys with which requests are signed.
class S3Client {
 public:
  struct Object {
    std::string bytes, etag;
  };
  struct Range {
    int64_t offset = 0, size = 0;  // at least 1 byte
  };
  // What must hold of the object that there is, for it to be replaced. Empty: nothing.
  struct Condition {
    std::string if_match;    // it has this etag
    bool if_absent = false;  // there is none
  };

  // `credentials`: those of the file, where there is one. `logger` outlives it.
  S3Client(S3Address address, S3Options options, AwsCredentials credentials, spdlog::logger* logger);

  absl::StatusOr<Object> Get(const std::string& key, const std::optional<Range>& range = {}) const;
  // Returns its etag. FailedPrecondition also where an earlier try of this call has written it, and its answer was
  // lost.
  absl::StatusOr<std::string> Put(const std::string& key, const std::string& bytes, const Condition& condition) const;
  // One that is not there is no error.
  absl::Status Delete(const std::string& key) const;
  // The keys of all objects that begin so, without what they begin with, in order. Not `deep`: each up to the next '/',
  // with it, and once.
  absl::StatusOr<std::vector<std::string>> List(const std::string& begin, bool deep) const;

  // "s3://bucket/prefix/key", as errors say it.
  std::string NameOf(const std::string& key) const;

 private:
  struct Call {
    const char* what;  // "read", in errors
    std::string method, key;
    std::map<std::string, std::string> query = {}, headers = {};
    const std::string* body = nullptr;
  };
  // A success, or the answer's error.
  absl::StatusOr<CurlClient::Answer> Ask(const Call& call, absl::Duration retry) const;
  absl::StatusOr<CurlClient::Answer> AskOnce(const Call& call, const std::string& body_sha256,
                                             const AwsCredentials& keys) const;
  absl::Status ErrorOf(const Call& call, int status, const S3Error& error) const;
  void ReadKeysAgain() const;
  void SetAway(bool away, const absl::Status& why) const;
  AwsCredentials keys() const;

  const S3Address address_;
  const S3Options options_;
  spdlog::logger* const logger_;
  mutable std::atomic<bool> away_ = false;
  mutable Mutex mutex_;
  mutable AwsCredentials keys_ ABSL_GUARDED_BY(mutex_);
  mutable std::vector<std::unique_ptr<CurlClient>> idle_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_STORE_S3_CLIENT_H_
