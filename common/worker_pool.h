// A few threads for work that must not hold up those that ask for it.
#ifndef LONGTAKE_COMMON_WORKER_POOL_H_
#define LONGTAKE_COMMON_WORKER_POOL_H_

#include <deque>
#include <functional>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "common/mutex.h"

namespace longtake {

// Tasks begin in the order in which they were posted; with one thread each ends before the next.
class WorkerPool {
 public:
  // Throws std::system_error where the system gives fewer threads.
  explicit WorkerPool(int threads);
  ~WorkerPool();                          // runs what was posted, then joins
  void Post(std::function<void()> task);  // the pool may be destroyed as soon as the task runs, before this returns

 private:
  void Stop();
  void Loop();

  Mutex mutex_;
  ConditionVariable posted_;  // or stopping
  std::deque<std::function<void()>> tasks_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;
};

}  // namespace longtake

#endif  // LONGTAKE_COMMON_WORKER_POOL_H_
