// A thread that waits for a device's lane, so that who asks the lane for more need not.
#ifndef LONGTAKE_ENGINE_RUNTIME_WAITER_H_
#define LONGTAKE_ENGINE_RUNTIME_WAITER_H_

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"

namespace longtake {

class Waiter {
 public:
  Waiter() : thread_([this] { Run(); }) {}
  // Ends once all has been waited for.
  ~Waiter() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    changed_.notify_one();
    thread_.join();
  }
  Waiter(const Waiter&) = delete;
  Waiter& operator=(const Waiter&) = delete;

  // `wait` runs on the thread, after those pushed before.
  void Push(std::function<void()> wait) {
    const std::lock_guard lock(mutex_);
    queue_.push_back(std::move(wait));
    changed_.notify_one();
  }

 private:
  void Run() {
    while (true) {
      std::function<void()> wait;
      {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
        if (queue_.empty()) return;
        wait = std::move(queue_.front());
        queue_.pop_front();
      }
      wait();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> queue_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_RUNTIME_WAITER_H_
