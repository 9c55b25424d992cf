// Jobs on some threads, in the order in which it matters.
#ifndef LONGTAKE_SERVER_STORE_S3_ORDERED_JOBS_H_
#define LONGTAKE_SERVER_STORE_S3_ORDERED_JOBS_H_

#include <functional>
#include <list>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "common/mutex.h"

namespace longtake::server {

// Each job is about a path. Jobs about the same path, or about a path and one above it, are carried out in the order in
// which they were posted; others at the same time. Thread-safe.
class OrderedJobs {
 public:
  OrderedJobs() = default;
  ~OrderedJobs();  // waits for all jobs

  // ResourceExhausted: the system gives no thread. Before the first job.
  absl::Status Start(int threads);
  void Post(std::string path, std::function<void()> run);
  // Waits until every job that was posted is done.
  void AwaitIdle();

 private:
  struct Job {
    std::string path;
    std::function<void()> run;
    bool runs = false;
  };

  void Run();
  // The first job that need not wait for one before it; the end: there is none.
  std::list<Job>::iterator Next() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  Mutex mutex_;
  ConditionVariable changed_;
  std::list<Job> jobs_ ABSL_GUARDED_BY(mutex_);  // those that run among them, in their order
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;
};

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_STORE_S3_ORDERED_JOBS_H_
