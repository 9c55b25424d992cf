// The threads that operations run on. The thread that calls an operation works as one of them.
#ifndef LONGTAKE_ENGINE_CORE_THREAD_POOL_H_
#define LONGTAKE_ENGINE_CORE_THREAD_POOL_H_

#include <atomic>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <string_view>
#include <thread>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "common/mutex.h"
#include "common/thread.h"

namespace longtake {

// Owned by a device's context and passed in: two devices have two pools, so it is no singleton. One thread at a time
// may call ParallelFor. A pool of one thread has no workers and runs everything in the caller.
class ThreadPool {
 public:
  using Starter = std::function<absl::StatusOr<std::thread>(std::string_view name, std::function<void()> body)>;

  // `threads` >= 1 includes the caller. ResourceExhausted names the option `threads` if the system cannot create that
  // many; the threads created so far have then been joined. Tests pass their own `start`.
  static absl::StatusOr<std::unique_ptr<ThreadPool>> Create(int threads, const Starter& start = StartThread);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls f(task, thread) once for each task in [0, tasks), with thread in [0, threads()), and returns when all calls
  // have returned. Threads take tasks one by one in ascending order, so a task should take at least some microseconds.
  //
  // If a call throws, no further task begins, and the first exception is rethrown here once all threads have left the
  // loop.
  void ParallelFor(int64_t tasks, absl::FunctionRef<void(int64_t task, int thread)> f);

 private:
  ThreadPool() = default;
  void Work(int thread);
  void RunTasks(int thread);
  void KeepException();

  // The current loop. The caller writes it while no worker is inside a loop: `busy_` is 0 and `generation_` unchanged.
  const absl::FunctionRef<void(int64_t, int)>* body_ = nullptr;
  int64_t tasks_ = 0;
  // Each atomic has its own cache line, because every thread writes `next_` for each task.
  alignas(64) std::atomic<int64_t> next_{0};
  alignas(64) std::atomic<uint64_t> generation_{0};  // number of the current loop; each worker enters each loop once
  alignas(64) std::atomic<int> busy_{0};             // workers that have not left the current loop

  alignas(64) Mutex mutex_;
  ConditionVariable start_, done_;
  bool stop_ = false;             // guarded by mutex_
  std::exception_ptr exception_;  // of the current loop; guarded by mutex_ while a worker is inside it
  std::vector<std::thread> workers_;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_CORE_THREAD_POOL_H_
