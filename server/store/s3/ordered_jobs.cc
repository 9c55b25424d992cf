#include "server/store/s3/ordered_jobs.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/string_view.h"
#include "common/status_macros.h"
#include "common/thread.h"

namespace longtake::server {
namespace {

// Whether `path` is `above`, or lies in it.
bool IsWithin(absl::string_view path, absl::string_view above) {
  return above.empty() || path == above ||
         (path.size() > above.size() && path[above.size()] == '/' && absl::StartsWith(path, above));
}

}  // namespace

OrderedJobs::~OrderedJobs() {
  {
    const MutexLock lock(mutex_);
    ending_ = true;
  }
  changed_.NotifyAll();
  for (std::thread& thread : threads_) thread.join();
}

absl::Status OrderedJobs::Start(int threads) {
  for (int i = 0; i < threads; ++i) {
    ASSIGN_OR_RETURN(std::thread thread, StartThread("the store's threads", [this] { Run(); }));
    threads_.push_back(std::move(thread));
  }
  return absl::OkStatus();
}

void OrderedJobs::Post(std::string path, std::function<void()> run) {
  {
    const MutexLock lock(mutex_);
    jobs_.push_back({.path = std::move(path), .run = std::move(run)});
  }
  changed_.NotifyAll();
}

void OrderedJobs::AwaitIdle() {
  MutexLock lock(mutex_);
  changed_.Wait(lock, [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return jobs_.empty(); });
}

std::list<OrderedJobs::Job>::iterator OrderedJobs::Next() {
  return std::find_if(jobs_.begin(), jobs_.end(), [this](const Job& job) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    if (job.runs) return false;
    for (const Job& before : jobs_) {
      if (&before == &job) return true;
      if (IsWithin(job.path, before.path) || IsWithin(before.path, job.path)) return false;
    }
    return true;
  });
}

void OrderedJobs::Run() {
  MutexLock lock(mutex_);
  while (true) {
    auto next = jobs_.end();
    changed_.Wait(lock, [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
      next = Next();
      return next != jobs_.end() || (ending_ && jobs_.empty());
    });
    if (next == jobs_.end()) return;
    next->runs = true;
    lock.Unlock();
    next->run();
    next->run = nullptr;  // what it holds is let go before others are told that it is done
    lock.Lock();
    jobs_.erase(next);
    changed_.NotifyAll();
  }
}

}  // namespace longtake::server
