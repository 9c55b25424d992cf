#include "server/video/strand.h"

#include <utility>

namespace longtake::server {

void Strand::Post(std::function<void()> task) {
  {
    const MutexLock lock(state_->mutex);
    state_->tasks.push_back(std::move(task));
    if (std::exchange(state_->running, true)) return;
  }
  state_->pool->Post([state = state_] { RunOne(state); });
}

// One task, then back of the pool's queue: strands share the threads fairly.
void Strand::RunOne(const std::shared_ptr<State>& state) {
  std::function<void()> task;
  {
    const MutexLock lock(state->mutex);
    task = std::move(state->tasks.front());
    state->tasks.pop_front();
  }
  task();
  task = nullptr;
  {
    const MutexLock lock(state->mutex);
    if (state->tasks.empty()) {
      state->running = false;
      return;
    }
  }
  state->pool->Post([state] { RunOne(state); });
}

}  // namespace longtake::server
