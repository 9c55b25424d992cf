// A mutex, its lock and its condition variable, which clang's -Wthread-safety checks (scripts/lint.sh): what is
// ABSL_GUARDED_BY a mutex is touched only by who holds it. They are the standard library's, whose own types lack the
// annotations. absl::Mutex has them, but Debian's build of it is unknown to the thread sanitizer, which would be blind.
#ifndef LONGTAKE_COMMON_MUTEX_H_
#define LONGTAKE_COMMON_MUTEX_H_

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"

namespace longtake {

class ABSL_LOCKABLE Mutex {
 private:
  friend class MutexLock;
  std::mutex mutex_;
};

// Holds the mutex from here to the end of the scope, but for what is between Unlock and Lock.
class ABSL_SCOPED_LOCKABLE MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) ABSL_EXCLUSIVE_LOCK_FUNCTION(mutex) : lock_(mutex.mutex_) {}
  ~MutexLock() ABSL_UNLOCK_FUNCTION() {}  // NOLINT(modernize-use-equals-default)
  void Unlock() ABSL_UNLOCK_FUNCTION() { lock_.unlock(); }
  void Lock() ABSL_EXCLUSIVE_LOCK_FUNCTION() { lock_.lock(); }

 private:
  friend class ConditionVariable;
  std::unique_lock<std::mutex> lock_;
};

// The analysis does not know that a wait's condition is called under the lock: conditions say so themselves
// (ABSL_EXCLUSIVE_LOCKS_REQUIRED), and the waits below are not analysed.
class ConditionVariable {
 public:
  void NotifyOne() { changed_.notify_one(); }
  void NotifyAll() { changed_.notify_all(); }
  // Without a condition it may return at any time.
  void Wait(MutexLock& lock) { changed_.wait(lock.lock_); }
  template <typename Condition>
  void Wait(MutexLock& lock, Condition condition) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    changed_.wait(lock.lock_, condition);
  }
  void WaitFor(MutexLock& lock, absl::Duration limit) { changed_.wait_for(lock.lock_, Nanoseconds(limit)); }
  // Returns the condition.
  template <typename Condition>
  bool WaitFor(MutexLock& lock, absl::Duration limit, Condition condition) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    return changed_.wait_for(lock.lock_, Nanoseconds(limit), condition);
  }

 private:
  // At most a year: the sum of a longer time with now may leave 64 bits.
  static std::chrono::nanoseconds Nanoseconds(absl::Duration limit) {
    return absl::ToChronoNanoseconds(std::min(limit, absl::Hours(24 * 365)));
  }

  std::condition_variable changed_;
};

}  // namespace longtake

#endif  // LONGTAKE_COMMON_MUTEX_H_
