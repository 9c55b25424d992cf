// Allocates memory whose pages are present from the start.
#ifndef LONGTAKE_ENGINE_RUNTIME_DEVICE_MEMORY_H_
#define LONGTAKE_ENGINE_RUNTIME_DEVICE_MEMORY_H_

#include <cstddef>
#include <memory>

#include "engine/ops/ops.h"

namespace longtake {

// Allocates device memory, aligned to 64 bytes: a cache line, and a vector of AVX-512. If the device works in host
// memory, every page is written once: Linux commits pages at the first access, so a limit that is too low would
// otherwise kill the process in the middle of a video. Throws bad_alloc.
std::unique_ptr<Buffer> AllocateTouched(Ops& ops, size_t bytes);
// Like AllocateTouched, with memory of Device::AllocateHost.
std::unique_ptr<Buffer> AllocateHostTouched(Ops& ops, size_t bytes);

// One region of sessions' memory: slots of equal size in one allocation.
class Slab {
 public:
  Slab(Ops& ops, size_t slot_bytes, int slots);
  std::byte* at(int slot) const { return static_cast<std::byte*>(buffer_->data()) + slot * slot_bytes_; }

 private:
  size_t slot_bytes_;
  std::unique_ptr<Buffer> buffer_;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_RUNTIME_DEVICE_MEMORY_H_
