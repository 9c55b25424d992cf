#include "clients/cli/load/timetable.h"

#include <utility>

namespace longtake::client {

void Timetable::At(double when, std::function<void()> what) {
  const std::lock_guard lock(mutex_);
  queue_.push({when, ++entries_, std::move(what)});
  changed_.notify_one();
}

void Timetable::Run() {
  stopped_ = false;
  while (!stopped_) {
    std::function<void()> what;
    {
      std::unique_lock lock(mutex_);
      while (queue_.empty() || queue_.top().when > now()) {
        if (queue_.empty()) {
          changed_.wait(lock);
        } else {
          changed_.wait_for(lock, std::chrono::duration<double>(queue_.top().when - now()));
        }
      }
      what = queue_.top().what;
      queue_.pop();
    }
    what();
  }
}

}  // namespace longtake::client
