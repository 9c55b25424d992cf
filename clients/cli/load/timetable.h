// What is to happen when, on one thread.
#ifndef LONGTAKE_CLIENTS_CLI_LOAD_TIMETABLE_H_
#define LONGTAKE_CLIENTS_CLI_LOAD_TIMETABLE_H_

#include <cstdint>
#include <functional>
#include <queue>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"
#include "common/clock.h"
#include "common/mutex.h"

namespace longtake::client {

// Counts seconds from its making. Every method may be called from any thread.
class Timetable {
 public:
  explicit Timetable(const Clock* clock) : clock_(clock), began_(clock->Now()) {}  // `clock` outlives it
  double now() const { return absl::ToDoubleSeconds(clock_->Now() - began_); }
  // `what` runs on the thread that runs the timetable; of equal times in the order of the calls.
  void At(double when, std::function<void()> what);
  // Runs what is due, when it is due, until Stop.
  void Run();
  void Stop() {
    At(0, [this] { stopped_ = true; });
  }

 private:
  struct Entry {
    double when;
    uint64_t number;
    std::function<void()> what;
    bool operator>(const Entry& other) const { return when != other.when ? when > other.when : number > other.number; }
  };

  const Clock* const clock_;
  const absl::Duration began_;
  bool stopped_ = false;  // the running thread's
  Mutex mutex_;
  ConditionVariable changed_;
  uint64_t entries_ ABSL_GUARDED_BY(mutex_) = 0;
  std::priority_queue<Entry, std::vector<Entry>, std::greater<>> queue_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace longtake::client

#endif  // LONGTAKE_CLIENTS_CLI_LOAD_TIMETABLE_H_
