// Memory of the cpu backend: aligned, zeroed, and on huge pages if it is large.
#ifndef LONGTAKE_ENGINE_CPU_MEMORY_H_
#define LONGTAKE_ENGINE_CPU_MEMORY_H_

#include <cstddef>
#include <memory>
#include <span>
#include <utility>

#include "engine/ops/device.h"

namespace longtake::cpu {

// Memory of its own, or a view of read-only memory of another owner. Its own is aligned to 64 bytes; from 4 MiB on to 2
// MiB, with huge pages requested. Packed weights are read in strides of whole panels, where each 4 KiB page would cost
// a page-table walk. Throws bad_alloc; from 4 MiB on also if the machine or the container has less memory left.
class Memory {
 public:
  Memory() = default;
  explicit Memory(size_t bytes);
  // A view of `bytes`, which nobody may write.
  Memory(std::span<const std::byte> bytes, std::shared_ptr<const void> owner);
  ~Memory();
  Memory(Memory&& other) noexcept;
  Memory& operator=(Memory&& other) noexcept;

  std::byte* data() const { return data_; }
  size_t size() const { return size_; }
  float* f32() const { return reinterpret_cast<float*>(data_); }
  std::span<const std::byte> bytes() const { return {data_, size_}; }

 private:
  std::byte* data_ = nullptr;
  size_t size_ = 0;
  std::shared_ptr<const void> owner_;  // of a view
};

class CpuBuffer final : public Buffer {
 public:
  explicit CpuBuffer(size_t bytes) : memory_(bytes) {}
  explicit CpuBuffer(Memory memory) : memory_(std::move(memory)) {}
  void* data() override { return memory_.data(); }
  size_t size() const override { return memory_.size(); }

 private:
  Memory memory_;
};

}  // namespace longtake::cpu

#endif  // LONGTAKE_ENGINE_CPU_MEMORY_H_
