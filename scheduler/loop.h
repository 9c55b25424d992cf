// A thread with an inbox and a timer. All of the scheduler's work happens on it.
#ifndef LONGTAKE_SCHEDULER_LOOP_H_
#define LONGTAKE_SCHEDULER_LOOP_H_

#include <functional>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"
#include "common/clock.h"
#include "common/mutex.h"

namespace longtake::scheduler {

using longtake::Clock;

// Runs posted tasks in the order in which they were posted, and after each group of them the *turn*: one function that
// looks at everything that has changed and says when it wants to be called again though nothing was posted.
//
// After Start() the loop has a thread of its own. Without it, it is driven by hand: by RunReady(), on a clock that the
// caller moves. Then all calls must come from one thread.
class Loop {
 public:
  // The moment, on the clock, at which the turn comes again at the latest; infinite: after the next task.
  using Turn = std::function<absl::Duration()>;

  explicit Loop(const Clock* clock) : clock_(clock) {}  // `clock` outlives it
  ~Loop() { Stop(); }
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  void Start();
  // Runs what has been posted and joins the thread. What is posted later is never run.
  void Stop();

  // Any thread; returns at once.
  void Post(std::function<void()> task);
  // Posts the task and waits until it has run; by hand, runs everything that is ready. Not from the loop itself.
  void Call(std::function<void()> task);

  // Null: none. Before Start(), or in a task.
  void SetTurn(Turn turn);

  // By hand: runs tasks and turns until nothing is ready at the clock's time.
  void RunReady();
  // By hand: when the turn comes again.
  absl::Duration wake() const { return wake_; }

  bool has_thread() const { return thread_.joinable(); }
  const Clock& clock() const { return *clock_; }

 private:
  void Run();
  void RunTasks(std::vector<std::function<void()>> tasks);

  const Clock* const clock_;
  Mutex mutex_;
  ConditionVariable posted_;  // or stopping
  std::vector<std::function<void()>> inbox_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
  // Only the loop's thread touches these.
  Turn turn_;
  absl::Duration wake_ = absl::InfiniteDuration();
  bool running_ = false;
};

}  // namespace longtake::scheduler

#endif  // LONGTAKE_SCHEDULER_LOOP_H_
