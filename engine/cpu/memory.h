// Memory of the cpu backend: aligned, zeroed, on huge pages where it is big.
#ifndef LONGTAKE_ENGINE_CPU_MEMORY_H_
#define LONGTAKE_ENGINE_CPU_MEMORY_H_

#include <cstddef>

#include "engine/ops/device.h"

namespace longtake::cpu {

// Owner. Aligned to 64 bytes; from 4 MiB on to 2 MiB, with huge pages asked for: packed weights are read in strides of
// whole panels, and 4 KiB pages would cost a table walk each. Throws bad_alloc, from 4 MiB on also where the machine or
// the container has less memory left.
class Memory {
 public:
  Memory() = default;
  explicit Memory(size_t bytes);
  ~Memory();
  Memory(Memory&& other) noexcept;
  Memory& operator=(Memory&& other) noexcept;

  std::byte* data() const { return data_; }
  size_t size() const { return size_; }
  float* f32() const { return reinterpret_cast<float*>(data_); }

 private:
  std::byte* data_ = nullptr;
  size_t size_ = 0;
};

class CpuBuffer final : public Buffer {
 public:
  explicit CpuBuffer(size_t bytes) : memory_(bytes) {}
  void* data() override { return memory_.data(); }
  size_t size() const override { return memory_.size(); }

 private:
  Memory memory_;
};

}  // namespace longtake::cpu

#endif  // LONGTAKE_ENGINE_CPU_MEMORY_H_
