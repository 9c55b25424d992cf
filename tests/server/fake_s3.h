// An S3 in memory, with the faults that a test wants. It checks no signatures: moto does (tests/store).
#ifndef LONGTAKE_TESTS_SERVER_FAKE_S3_H_
#define LONGTAKE_TESTS_SERVER_FAKE_S3_H_

#include <functional>
#include <map>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "common/mutex.h"

namespace longtake::server {

// One bucket, "videos", whose requests are carried out one at a time. Each connection has a thread.
class FakeS3 {
 public:
  struct Request {
    std::string method, key;                            // without the bucket
    std::map<std::string, std::string> query, headers;  // headers by names in lower case
    std::string body;
  };
  enum class Fault {
    kNone,
    kBusy,        // 503 SlowDown, and nothing is done
    kBroken,      // 500 without XML, and nothing is done
    kDenied,      // 403 AccessDenied
    kOldKeys,     // 403 ExpiredToken
    kFull,        // 507
    kCut,         // it is done; the answer ends in the midst of its body
    kLostAnswer,  // it is done; the connection ends without an answer
    kSilence,     // nothing is done or said until the client gives up
  };

  FakeS3();
  ~FakeS3();
  FakeS3(const FakeS3&) = delete;
  FakeS3& operator=(const FakeS3&) = delete;

  // From now on each request has the fault that this returns. Called one at a time, before the request is carried out.
  void SetFaults(std::function<Fault(const Request&)> faults);
  // Of services that are older than conditional writes.
  void IgnoreConditions();
  std::string endpoint() const;
  std::map<std::string, std::string> objects() const;
  void Write(const std::string& key, const std::string& bytes);
  std::vector<Request> requests() const;

 private:
  struct Answer {
    int status = 200;
    std::string body;
    std::map<std::string, std::string> headers = {};
  };

  void Accept();
  void Serve(int connection);
  // False: the connection has ended.
  static bool Read(int connection, Request& request);
  Answer Carry(const Request& request) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Answer Put(const Request& request) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Answer List(const Request& request) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  struct Object {
    std::string bytes, etag;
  };

  int listener_ = -1, port_ = 0;
  Mutex calls_mutex_;  // of what SetFaults was given
  mutable Mutex mutex_;
  std::map<std::string, Object> objects_ ABSL_GUARDED_BY(mutex_);
  std::function<Fault(const Request&)> faults_ ABSL_GUARDED_BY(mutex_);
  bool keeps_conditions_ ABSL_GUARDED_BY(mutex_) = true;
  int written_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<Request> requests_ ABSL_GUARDED_BY(mutex_);
  std::set<int> connections_ ABSL_GUARDED_BY(mutex_);
  bool closing_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_ ABSL_GUARDED_BY(mutex_);
  std::thread acceptor_;
};

}  // namespace longtake::server

#endif  // LONGTAKE_TESTS_SERVER_FAKE_S3_H_
