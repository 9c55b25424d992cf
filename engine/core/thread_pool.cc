#include "engine/core/thread_pool.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/core/spin_pause.h"

namespace longtake {
namespace {

// The caller works alone for about 1 us between two operations of a pass. Spinning for that time before sleeping saves
// waking the thread (5 to 50 us on a virtual machine). Between passes the workers sleep, so that network and encoder
// threads get the processor.
constexpr int kLooks = 200;  // iterations of SpinPause: 2 to 8 us, depending on the processor

}  // namespace

absl::StatusOr<std::unique_ptr<ThreadPool>> ThreadPool::Create(int threads, const Starter& start) {
  std::unique_ptr<ThreadPool> pool(new ThreadPool);
  pool->workers_.reserve(threads - 1);
  for (int i = 1; i < threads; ++i) {
    absl::StatusOr<std::thread> worker =
        start(absl::StrCat("threads: of ", threads, " number ", i + 1), [pool = pool.get(), i] { pool->Work(i); });
    if (!worker.ok()) return worker.status();
    pool->workers_.push_back(*std::move(worker));
  }
  return pool;
}

ThreadPool::~ThreadPool() {
  {
    const MutexLock lock(mutex_);
    stop_ = true;
  }
  start_.NotifyAll();
  for (std::thread& t : workers_) t.join();
}

void ThreadPool::KeepException() {
  const MutexLock lock(mutex_);
  if (exception_ == nullptr) exception_ = std::current_exception();
}

void ThreadPool::RunTasks(int thread) {
  try {
    for (int64_t task; (task = next_.fetch_add(1, std::memory_order_relaxed)) < tasks_;) (*body_)(task, thread);
  } catch (...) {
    next_.store(tasks_, std::memory_order_relaxed);
    KeepException();
  }
}

void ThreadPool::ParallelFor(int64_t tasks, absl::FunctionRef<void(int64_t, int)> f) {
  if (workers_.empty() || tasks <= 1) {
    for (int64_t task = 0; task < tasks; ++task) f(task, 0);
    return;
  }
  {
    const MutexLock lock(mutex_);
    body_ = &f;
    tasks_ = tasks;
    next_.store(0, std::memory_order_relaxed);
    busy_.store(static_cast<int>(workers_.size()), std::memory_order_relaxed);
    generation_.fetch_add(1, std::memory_order_release);
  }
  start_.NotifyAll();
  RunTasks(0);
  for (int i = 0; i < kLooks && busy_.load(std::memory_order_acquire) != 0; ++i) SpinPause();
  if (busy_.load(std::memory_order_acquire) != 0) {
    MutexLock lock(mutex_);
    done_.Wait(lock, [this] { return busy_.load(std::memory_order_acquire) == 0; });
  }
  // All workers have left the loop, so no other thread accesses the exception.
  if (exception_ != nullptr) std::rethrow_exception(std::exchange(exception_, nullptr));
}

void ThreadPool::Work(int thread) {
  uint64_t seen = 0;
  for (;;) {
    for (int i = 0; i < kLooks && generation_.load(std::memory_order_acquire) == seen; ++i) SpinPause();
    if (generation_.load(std::memory_order_acquire) == seen) {
      MutexLock lock(mutex_);
      start_.Wait(lock, [&] { return stop_ || generation_.load(std::memory_order_acquire) != seen; });
      if (stop_) return;
    }
    ++seen;
    RunTasks(thread);
    if (busy_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
      // Without the lock, the caller could miss this notification between its check of `busy_` and its wait.
      const MutexLock lock(mutex_);
      done_.NotifyOne();
    }
  }
}

}  // namespace longtake
