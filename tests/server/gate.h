// Holds the engine in a pass until the test lets it go on.
#ifndef LONGTAKE_TESTS_SERVER_GATE_H_
#define LONGTAKE_TESTS_SERVER_GATE_H_

#include "absl/base/thread_annotations.h"
#include "common/mutex.h"

namespace longtake {

class Gate {
 public:
  void Close() {
    const MutexLock lock(mutex_);
    closed_ = true;
  }
  void Open() {
    {
      const MutexLock lock(mutex_);
      closed_ = false;
    }
    opened_.NotifyAll();
  }
  void Pass() {
    MutexLock lock(mutex_);
    opened_.Wait(lock, [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return !closed_; });
  }

 private:
  Mutex mutex_;
  ConditionVariable opened_;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace longtake

#endif  // LONGTAKE_TESTS_SERVER_GATE_H_
