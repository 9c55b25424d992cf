// A pool of host buffers that a device downloads results to. The device continues while the results are copied and
// handed out.
#ifndef LONGTAKE_ENGINE_RUNTIME_HOST_STAGING_H_
#define LONGTAKE_ENGINE_RUNTIME_HOST_STAGING_H_

#include <cstddef>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "common/mutex.h"
#include "engine/runtime/device_memory.h"

namespace longtake {

class HostStaging {
 public:
  // Allocates `count` buffers of `bytes` each.
  HostStaging(Ops& ops, size_t bytes, int count) : memory_(AllocateHostTouched(ops, bytes * count)) {
    for (int i = 0; i < count; ++i) free_.push_back(static_cast<std::byte*>(memory_->data()) + i * bytes);
  }

  // Blocks until a buffer is free.
  std::byte* Take() {
    MutexLock lock(mutex_);
    returned_.Wait(lock, [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return !free_.empty(); });
    std::byte* buffer = free_.back();
    free_.pop_back();
    return buffer;
  }
  void Return(std::byte* buffer) {
    const MutexLock lock(mutex_);
    free_.push_back(buffer);
    returned_.NotifyOne();
  }

  size_t bytes() const { return memory_->size(); }

 private:
  const std::unique_ptr<Buffer> memory_;
  Mutex mutex_;
  ConditionVariable returned_;
  std::vector<std::byte*> free_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_RUNTIME_HOST_STAGING_H_
