// The thread that waits for the issued passes of one lane, on backends where issuing returns before the passes have
// finished.
#ifndef LONGTAKE_ENGINE_RUNTIME_COMPLETION_THREAD_H_
#define LONGTAKE_ENGINE_RUNTIME_COMPLETION_THREAD_H_

#include <functional>
#include <memory>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "common/mutex.h"
#include "engine/runtime/intrusive_queue.h"
#include "engine/runtime/pass_batch.h"

namespace longtake {

class CompletionThread {
 public:
  // `await` is called on the thread with each posted item, in the order of posting. ResourceExhausted: the thread
  // cannot be created.
  static absl::StatusOr<std::unique_ptr<CompletionThread>> Start(std::function<void(IssuedPasses*)> await);
  ~CompletionThread();  // returns after all posted items have been awaited

  void Post(IssuedPasses* passes);

 private:
  explicit CompletionThread(std::function<void(IssuedPasses*)> await) : await_(std::move(await)) {}
  void Run();

  const std::function<void(IssuedPasses*)> await_;
  Mutex mutex_;
  ConditionVariable posted_;  // signals that an item was posted or `stopping_` was set
  IntrusiveQueue<IssuedPasses> queue_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_RUNTIME_COMPLETION_THREAD_H_
