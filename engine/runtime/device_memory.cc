#include "engine/runtime/device_memory.h"

#include "engine/ops/arena.h"

namespace longtake {
namespace {

void TouchPages(Buffer& buffer) {
  constexpr size_t kPage = 4096;
  auto* const bytes = static_cast<volatile std::byte*>(buffer.data());
  for (size_t at = 0; at < buffer.size(); at += kPage) bytes[at] = std::byte{0};
}

}  // namespace

std::unique_ptr<Buffer> AllocateTouched(Ops& ops, size_t bytes) {
  std::unique_ptr<Buffer> buffer = ops.device().Allocate(bytes);
  if (ops.device().memory_bytes() == 0) TouchPages(*buffer);
  return buffer;
}

std::unique_ptr<Buffer> AllocateHostTouched(Ops& ops, size_t bytes) {
  std::unique_ptr<Buffer> buffer = ops.device().AllocateHost(bytes);
  TouchPages(*buffer);
  return buffer;
}

Slab::Slab(Ops& ops, size_t slot_bytes, int slots)
    : slot_bytes_(Aligned(slot_bytes)), buffer_(AllocateTouched(ops, slot_bytes_ * slots)) {}

}  // namespace longtake
