// What is to happen when, on one thread.
#ifndef LONGTAKE_CLIENTS_CLI_LOAD_TIMETABLE_H_
#define LONGTAKE_CLIENTS_CLI_LOAD_TIMETABLE_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <queue>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "common/mutex.h"

namespace longtake::client {

// Its clock counts seconds from its making. Every method may be called from any thread.
class Timetable {
 public:
  double now() const { return std::chrono::duration<double>(Clock::now() - began_).count(); }
  // `what` runs on the thread that runs the timetable; of equal times in the order of the calls.
  void At(double when, std::function<void()> what);
  // Runs what is due, when it is due, until Stop.
  void Run();
  void Stop() {
    At(0, [this] { stopped_ = true; });
  }

 private:
  using Clock = std::chrono::steady_clock;
  struct Entry {
    double when;
    uint64_t number;
    std::function<void()> what;
    bool operator>(const Entry& other) const { return when != other.when ? when > other.when : number > other.number; }
  };

  const Clock::time_point began_ = Clock::now();
  bool stopped_ = false;  // the running thread's
  Mutex mutex_;
  ConditionVariable changed_;
  uint64_t entries_ ABSL_GUARDED_BY(mutex_) = 0;
  std::priority_queue<Entry, std::vector<Entry>, std::greater<>> queue_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace longtake::client

#endif  // LONGTAKE_CLIENTS_CLI_LOAD_TIMETABLE_H_
