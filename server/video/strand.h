// Tasks in order on a pool of threads.
#ifndef LONGTAKE_SERVER_VIDEO_STRAND_H_
#define LONGTAKE_SERVER_VIDEO_STRAND_H_

#include <deque>
#include <functional>
#include <memory>

#include "absl/base/thread_annotations.h"
#include "common/mutex.h"
#include "common/worker_pool.h"

namespace longtake::server {

// Tasks that run in order and one at a time, on whatever thread of the pool is free. The pool outlives its strands'
// tasks.
class Strand {
 public:
  explicit Strand(WorkerPool* pool) : state_(std::make_shared<State>()) { state_->pool = pool; }
  void Post(std::function<void()> task);

 private:
  struct State {
    WorkerPool* pool;
    Mutex mutex;
    std::deque<std::function<void()>> tasks ABSL_GUARDED_BY(mutex);
    bool running ABSL_GUARDED_BY(mutex) = false;
  };
  static void RunOne(const std::shared_ptr<State>& state);
  std::shared_ptr<State> state_;
};

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_VIDEO_STRAND_H_
