// Memory of the host that decoded frames reach, so that a device goes on while they are copied and handed out.
#ifndef LONGTAKE_ENGINE_RUNTIME_FRAME_STAGING_H_
#define LONGTAKE_ENGINE_RUNTIME_FRAME_STAGING_H_

#include <condition_variable>
#include <cstddef>
#include <memory>
#include <mutex>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "engine/ops/ops.h"

namespace longtake {

class FrameStaging {
 public:
  FrameStaging(Ops& ops, size_t bytes, int places) : memory_(ops.device().AllocateHost(bytes * places)) {
    for (int i = 0; i < places; ++i) free_.push_back(static_cast<std::byte*>(memory_->data()) + i * bytes);
  }

  // Waits until one of the places is free.
  std::byte* Take() {
    std::unique_lock lock(mutex_);
    returned_.wait(lock, [this] { return !free_.empty(); });
    std::byte* place = free_.back();
    free_.pop_back();
    return place;
  }
  void Return(std::byte* place) {
    const std::lock_guard lock(mutex_);
    free_.push_back(place);
    returned_.notify_one();
  }

  size_t bytes() const { return memory_->size(); }

 private:
  const std::unique_ptr<Buffer> memory_;
  std::mutex mutex_;
  std::condition_variable returned_;
  std::vector<std::byte*> free_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_RUNTIME_FRAME_STAGING_H_
