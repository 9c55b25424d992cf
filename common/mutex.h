// Abseil's mutex as far as it is used here, of the standard library's parts: ThreadSanitizer knows those, while
// Debian's Abseil is built without it, so that whatever its mutexes guard looks unguarded.
#ifndef LONGTAKE_COMMON_MUTEX_H_
#define LONGTAKE_COMMON_MUTEX_H_

#include <algorithm>
#include <condition_variable>
#include <list>
#include <mutex>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace longtake {

class ABSL_LOCKABLE Mutex {
 public:
  Mutex() = default;
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;

  void Lock() ABSL_EXCLUSIVE_LOCK_FUNCTION() { mutex_.lock(); }
  void Unlock() ABSL_UNLOCK_FUNCTION() {
    Wake();
    mutex_.unlock();
  }

  // Waits, the mutex released, until the condition holds. It is looked at whenever somebody unlocks.
  void Await(const absl::Condition& condition) ABSL_EXCLUSIVE_LOCKS_REQUIRED(this) {
    AwaitWithTimeout(condition, absl::InfiniteDuration());
  }
  // At most so long. Whether the condition holds.
  bool AwaitWithTimeout(const absl::Condition& condition, absl::Duration timeout) ABSL_EXCLUSIVE_LOCKS_REQUIRED(this) {
    if (condition.Eval()) return true;
    Wake();  // this thread may have changed what others wait for
    std::unique_lock lock(mutex_, std::adopt_lock);
    const auto waiter = waiters_.emplace(waiters_.end(), condition);
    const auto holds = [&] { return condition.Eval(); };
    if (timeout == absl::InfiniteDuration()) {
      waiter->wake.wait(lock, holds);
    } else {
      constexpr absl::Duration kLongest = absl::Hours(24 * 365);  // beyond it the sum with now may leave 64 bits
      waiter->wake.wait_for(lock, absl::ToChronoNanoseconds(std::min(timeout, kLongest)), holds);
    }
    waiters_.erase(waiter);
    lock.release();
    return condition.Eval();
  }

 private:
  struct Waiter {
    explicit Waiter(const absl::Condition& c) : condition(c) {}
    const absl::Condition& condition;
    std::condition_variable wake;
  };
  // Under the lock: who is woken may destroy the mutex as soon as it is free. Nobody is woken in vain.
  void Wake() {
    for (Waiter& waiter : waiters_) {
      if (waiter.condition.Eval()) waiter.wake.notify_one();
    }
  }

  std::mutex mutex_;
  std::list<Waiter> waiters_;
};

class ABSL_SCOPED_LOCKABLE MutexLock {
 public:
  explicit MutexLock(Mutex* mutex) ABSL_EXCLUSIVE_LOCK_FUNCTION(mutex) : mutex_(mutex) { mutex_->Lock(); }
  ~MutexLock() ABSL_UNLOCK_FUNCTION() { mutex_->Unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex* const mutex_;
};

}  // namespace longtake

#endif  // LONGTAKE_COMMON_MUTEX_H_
