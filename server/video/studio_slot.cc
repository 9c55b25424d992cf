#include "server/video/studio_slot.h"

#include <utility>

#include "absl/time/clock.h"
#include "server/video/error.h"

namespace longtake::server {
namespace {

// Loading takes seconds to a minute; asking once a second costs nothing.
constexpr absl::Duration kLoadingRetry = absl::Seconds(1);

}  // namespace

void StudioSlot::Set(std::shared_ptr<Studio> studio) {
  const MutexLock lock(mutex_);
  studio_ = std::move(studio);
}

void StudioSlot::Clear() {
  std::shared_ptr<Studio> last;
  {
    const MutexLock lock(mutex_);
    last = std::move(studio_);
  }
  // Those that hold it have answered their calls, and let go of it within microseconds.
  while (last.use_count() > 1) absl::SleepFor(absl::Milliseconds(1));
}

absl::StatusOr<std::shared_ptr<Studio>> StudioSlot::Get() const {
  const MutexLock lock(mutex_);
  if (studio_ != nullptr) return studio_;
  return MakeError(absl::StatusCode::kUnavailable, "the model is still loading",
                   {.reason = Reason::kModelLoading, .retry_delay = kLoadingRetry});
}

void StudioSlot::AddCall() {
  const MutexLock lock(mutex_);
  ++calls_;
}

void StudioSlot::RemoveCall() {
  const MutexLock lock(mutex_);
  --calls_;
  call_ended_.NotifyAll();  // under the lock: who waits may destroy it next
}

bool StudioSlot::has_calls() const {
  const MutexLock lock(mutex_);
  return calls_ > 0;
}

void StudioSlot::AwaitNoCalls() {
  MutexLock lock(mutex_);
  call_ended_.Wait(lock, [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return calls_ == 0; });
}

}  // namespace longtake::server
