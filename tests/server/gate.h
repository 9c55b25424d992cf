// Holds the engine in a pass until the test lets it go on.
#ifndef LONGTAKE_TESTS_SERVER_GATE_H_
#define LONGTAKE_TESTS_SERVER_GATE_H_

#include <condition_variable>
#include <mutex>

namespace longtake {

class Gate {
 public:
  void Close() {
    const std::lock_guard lock(mutex_);
    closed_ = true;
  }
  void Open() {
    {
      const std::lock_guard lock(mutex_);
      closed_ = false;
    }
    opened_.notify_all();
  }
  void Pass() {
    std::unique_lock lock(mutex_);
    opened_.wait(lock, [this] { return !closed_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable opened_;
  bool closed_ = false;
};

}  // namespace longtake

#endif  // LONGTAKE_TESTS_SERVER_GATE_H_
