// A few threads for work that belongs neither on the engine's nor on the network's.
#ifndef LONGTAKE_SERVER_WORKER_POOL_H_
#define LONGTAKE_SERVER_WORKER_POOL_H_

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"

namespace longtake::server {

class WorkerPool {
 public:
  explicit WorkerPool(int threads);
  ~WorkerPool();  // runs what was posted, then joins
  void Post(std::function<void()> task);

 private:
  void Loop();

  std::mutex mutex_;
  std::condition_variable posted_;  // or stopping
  std::deque<std::function<void()>> tasks_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;
};

// Tasks that run in order and one at a time, on whatever thread of the pool is free. The pool outlives its strands'
// tasks.
class Strand {
 public:
  explicit Strand(WorkerPool* pool) : state_(std::make_shared<State>()) { state_->pool = pool; }
  void Post(std::function<void()> task);

 private:
  struct State {
    WorkerPool* pool;
    std::mutex mutex;
    std::deque<std::function<void()>> tasks ABSL_GUARDED_BY(mutex);
    bool running ABSL_GUARDED_BY(mutex) = false;
  };
  static void RunOne(const std::shared_ptr<State>& state);
  std::shared_ptr<State> state_;
};

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_WORKER_POOL_H_
