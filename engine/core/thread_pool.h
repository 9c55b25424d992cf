// The threads that operations run on. One engine thread issues work and takes part in it.
#ifndef LONGTAKE_ENGINE_CORE_THREAD_POOL_H_
#define LONGTAKE_ENGINE_CORE_THREAD_POOL_H_

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

#include "absl/functional/function_ref.h"

namespace longtake {

// Owned by whoever owns a device's context and passed in; two devices have two pools, so it is no singleton. One thread
// at a time may call ParallelFor. With one thread there are no workers and everything runs in the caller.
class ThreadPool {
 public:
  // `threads` >= 1, the caller's included.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls f(task, thread) once for each task in [0, tasks), thread in [0, threads()), and returns when all are done.
  // Tasks are handed out one by one in rising order: make them at least some microseconds long.
  void ParallelFor(int64_t tasks, absl::FunctionRef<void(int64_t task, int thread)> f);

 private:
  void Work(int thread);
  void RunTasks(int thread);

  // One parallel loop. Written by the caller while no worker is inside a loop (`busy_` is 0 and the generation old).
  const absl::FunctionRef<void(int64_t, int)>* body_ = nullptr;
  int64_t tasks_ = 0;
  std::atomic<int64_t> next_{0};

  std::atomic<uint64_t> generation_{0};  // a loop's number; a worker takes part once in each
  std::atomic<int> busy_{0};             // workers that have not left the present loop
  std::mutex mutex_;
  std::condition_variable start_, done_;
  bool stop_ = false;  // guarded by mutex_
  std::vector<std::thread> workers_;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_CORE_THREAD_POOL_H_
