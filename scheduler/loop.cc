#include "scheduler/loop.h"

#include <cassert>
#include <future>
#include <utility>

namespace longtake::scheduler {

void Loop::Start() {
  assert(!has_thread());
  thread_ = std::thread([this] { Run(); });
}

void Loop::Stop() {
  if (!has_thread()) return;
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
  }
  posted_.NotifyOne();
  thread_.join();
}

void Loop::Post(std::function<void()> task) {
  {
    const MutexLock lock(mutex_);
    inbox_.push_back(std::move(task));
  }
  posted_.NotifyOne();
}

void Loop::Call(std::function<void()> task) {
  if (!has_thread()) {
    Post(std::move(task));
    RunReady();
    return;
  }
  assert(std::this_thread::get_id() != thread_.get_id());
  std::promise<void> ran;
  Post([&] {
    task();
    ran.set_value();
  });
  ran.get_future().wait();
}

void Loop::SetTurn(Turn turn) {
  turn_ = std::move(turn);
  wake_ = absl::InfiniteDuration();
}

void Loop::RunTasks(std::vector<std::function<void()>> tasks) {
  for (std::function<void()>& task : tasks) {
    task();
    task = nullptr;  // what it holds is released before the next one runs
  }
  wake_ = turn_ ? turn_() : absl::InfiniteDuration();
}

void Loop::RunReady() {
  assert(!has_thread() && !running_);
  running_ = true;
  while (true) {
    std::vector<std::function<void()>> tasks;
    {
      const MutexLock lock(mutex_);
      tasks.swap(inbox_);
    }
    if (tasks.empty() && clock_->Now() < wake_) break;
    RunTasks(std::move(tasks));
  }
  running_ = false;
}

void Loop::Run() {
  MutexLock lock(mutex_);
  const auto ready = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return stopping_ || !inbox_.empty(); };
  while (true) {
    if (wake_ == absl::InfiniteDuration()) {
      posted_.Wait(lock, ready);
    } else if (!ready()) {
      posted_.WaitFor(lock, wake_ - clock_->Now(), ready);
    }
    if (inbox_.empty() && stopping_) return;
    if (inbox_.empty() && clock_->Now() < wake_) continue;  // woken early
    std::vector<std::function<void()>> tasks;
    tasks.swap(inbox_);
    lock.Unlock();
    RunTasks(std::move(tasks));
    lock.Lock();
  }
}

}  // namespace longtake::scheduler
