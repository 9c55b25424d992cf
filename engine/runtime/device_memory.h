// Device memory that is there once it is allocated.
#ifndef LONGTAKE_ENGINE_RUNTIME_DEVICE_MEMORY_H_
#define LONGTAKE_ENGINE_RUNTIME_DEVICE_MEMORY_H_

#include <cstddef>
#include <memory>

#include "engine/ops/ops.h"

namespace longtake {

// Everything starts at a multiple of 64 bytes: a cache line, and a vector of AVX-512. Where the device works in the
// host's memory each page is written once: Linux grants pages when they are first touched, and a limit that does not
// suffice would end the process in the middle of a video. Throws bad_alloc.
std::unique_ptr<Buffer> AllocateTouched(Ops& ops, size_t bytes);
// The same of Device::AllocateHost.
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
