#include "engine/cpu/memory.h"

#include <sys/mman.h>

#include <cstdint>
#include <cstring>
#include <new>
#include <utility>

#include "engine/core/memory_budget.h"

namespace longtake::cpu {
namespace {

constexpr size_t kPage = size_t{4} << 10, kHuge = size_t{2} << 20;
constexpr size_t kFromHere = 2 * kHuge;

size_t RoundUp(size_t n, size_t to) { return (n + to - 1) / to * to; }

// Checked before mapping: Linux grants more memory than container or machine have, and kills the process when it is
// written.
bool IsThere(size_t bytes) {
  const MemoryBudget budget = MemoryBudget::Detect();
  const MemoryLimit* limit = budget.tightest();
  return limit == nullptr || bytes <= limit->available();
}

std::byte* MapHuge(size_t bytes) {
  if (bytes > SIZE_MAX - 2 * kHuge) throw std::bad_alloc();  // rounding up would overflow
  if (!IsThere(bytes)) throw std::bad_alloc();
  // The end after the last whole huge page uses small pages; rounding up would waste up to 2 MiB in each buffer.
  const size_t size = RoundUp(bytes, kPage);
  void* mapped = mmap(nullptr, size + kHuge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) throw std::bad_alloc();
  auto* const begin = static_cast<std::byte*>(mapped);
  std::byte* const data = begin + (kHuge - reinterpret_cast<uintptr_t>(begin) % kHuge) % kHuge;
  if (data > begin) munmap(begin, data - begin);
  munmap(data + size, begin + kHuge - data);
  madvise(data, size, MADV_HUGEPAGE);  // advisory: without huge pages everything works, but slower
  return data;
}

}  // namespace

Memory::Memory(size_t bytes) : size_(bytes) {
  if (bytes >= kFromHere) {
    data_ = MapHuge(bytes);  // mapped pages are zero
  } else {
    const size_t size = RoundUp(bytes + 1, 64);
    data_ = static_cast<std::byte*>(operator new (size, std::align_val_t{64}));
    std::memset(data_, 0, size);
  }
}

Memory::Memory(std::span<const std::byte> bytes, std::shared_ptr<const void> owner)
    : data_(const_cast<std::byte*>(bytes.data())), size_(bytes.size()), owner_(std::move(owner)) {}

Memory::~Memory() {
  if (data_ == nullptr || owner_ != nullptr) return;
  if (size_ >= kFromHere) {
    munmap(data_, RoundUp(size_, kPage));
  } else {
    operator delete (data_, std::align_val_t{64});
  }
}

Memory::Memory(Memory&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      owner_(std::move(other.owner_)) {}

Memory& Memory::operator=(Memory&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(owner_, other.owner_);
  return *this;
}

}  // namespace longtake::cpu
