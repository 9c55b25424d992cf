#include "engine/core/thread_pool.h"

namespace longtake {
namespace {

// Between two operations of one pass lie about 1 us of the caller's own work. Looking that long before sleeping saves
// the wake-up (5 to 50 us on a virtual machine) inside a pass; between passes the pool sleeps, so that network and
// encoder threads get the processor.
constexpr int kLooks = 200;  // with `pause`: 2 to 8 us, by processor

void Pause() { __builtin_ia32_pause(); }

}  // namespace

ThreadPool::ThreadPool(int threads) {
  for (int i = 1; i < threads; ++i) workers_.emplace_back([this, i] { Work(i); });
}

ThreadPool::~ThreadPool() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  start_.notify_all();
  for (std::thread& t : workers_) t.join();
}

void ThreadPool::RunTasks(int thread) {
  for (int64_t task; (task = next_.fetch_add(1, std::memory_order_relaxed)) < tasks_;) (*body_)(task, thread);
}

void ThreadPool::ParallelFor(int64_t tasks, absl::FunctionRef<void(int64_t, int)> f) {
  if (workers_.empty() || tasks <= 1) {
    for (int64_t task = 0; task < tasks; ++task) f(task, 0);
    return;
  }
  {
    std::lock_guard lock(mutex_);
    body_ = &f;
    tasks_ = tasks;
    next_.store(0, std::memory_order_relaxed);
    busy_.store(static_cast<int>(workers_.size()), std::memory_order_relaxed);
    generation_.fetch_add(1, std::memory_order_release);
  }
  start_.notify_all();
  RunTasks(0);
  for (int i = 0; i < kLooks && busy_.load(std::memory_order_acquire) != 0; ++i) Pause();
  if (busy_.load(std::memory_order_acquire) != 0) {
    std::unique_lock lock(mutex_);
    done_.wait(lock, [this] { return busy_.load(std::memory_order_acquire) == 0; });
  }
}

void ThreadPool::Work(int thread) {
  uint64_t seen = 0;
  for (;;) {
    for (int i = 0; i < kLooks && generation_.load(std::memory_order_acquire) == seen; ++i) Pause();
    if (generation_.load(std::memory_order_acquire) == seen) {
      std::unique_lock lock(mutex_);
      start_.wait(lock, [&] { return stop_ || generation_.load(std::memory_order_acquire) != seen; });
      if (stop_) return;
    }
    ++seen;
    RunTasks(thread);
    if (busy_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
      // The lock orders this with the caller's check: without it the caller could sleep after the last worker left.
      std::lock_guard lock(mutex_);
      done_.notify_one();
    }
  }
}

}  // namespace longtake
