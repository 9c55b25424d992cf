#include "clients/cli/load/timetable.h"

#include <utility>

#include "absl/time/time.h"

namespace longtake::client {

void Timetable::At(double when, std::function<void()> what) {
  const MutexLock lock(mutex_);
  queue_.push({when, ++entries_, std::move(what)});
  changed_.NotifyOne();
}

void Timetable::Run() {
  stopped_ = false;
  while (!stopped_) {
    std::function<void()> what;
    {
      MutexLock lock(mutex_);
      while (queue_.empty() || queue_.top().when > now()) {
        if (queue_.empty()) {
          changed_.Wait(lock);
        } else {
          changed_.WaitFor(lock, absl::Seconds(queue_.top().when - now()));
        }
      }
      what = queue_.top().what;
      queue_.pop();
    }
    what();
  }
}

}  // namespace longtake::client
