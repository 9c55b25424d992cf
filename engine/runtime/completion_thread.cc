#include "engine/runtime/completion_thread.h"

#include <utility>

#include "common/status_macros.h"
#include "common/thread.h"

namespace longtake {

absl::StatusOr<std::unique_ptr<CompletionThread>> CompletionThread::Start(std::function<void(IssuedPasses*)> await) {
  std::unique_ptr<CompletionThread> thread(new CompletionThread(std::move(await)));
  ASSIGN_OR_RETURN(thread->thread_, StartThread("a lane's thread", [thread = thread.get()] { thread->Run(); }));
  return thread;
}

CompletionThread::~CompletionThread() {
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
  }
  posted_.NotifyOne();
  if (thread_.joinable()) thread_.join();
}

void CompletionThread::Post(IssuedPasses* passes) {
  {
    const MutexLock lock(mutex_);
    queue_.Push(passes);
  }
  posted_.NotifyOne();
}

void CompletionThread::Run() {
  while (true) {
    IssuedPasses* passes = nullptr;
    {
      MutexLock lock(mutex_);
      posted_.Wait(lock, [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return stopping_ || !queue_.empty(); });
      if (queue_.empty()) return;
      passes = queue_.Pop();
    }
    await_(passes);
  }
}

}  // namespace longtake
