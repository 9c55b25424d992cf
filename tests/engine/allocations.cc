#include "tests/engine/allocations.h"

#include <execinfo.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <new>

namespace longtake {
namespace {

thread_local int exempt = 0;
std::atomic<int64_t> count{0}, fail_in{0};
std::atomic<bool> failed{false}, tracing{false};

void Trace() {
  ++exempt;
  void* frames[32];
  backtrace_symbols_fd(frames, backtrace(frames, 32), STDERR_FILENO);
  (void)!write(STDERR_FILENO, "--\n", 3);
  --exempt;
}

void* Allocate(size_t bytes, size_t alignment) {
  if (exempt == 0) {
    ++count;
    if (tracing) Trace();
    if (fail_in > 0 && --fail_in == 0) {
      failed = true;
      throw std::bad_alloc();
    }
  }
  void* memory = alignment == 0 ? std::malloc(bytes == 0 ? 1 : bytes)
                                : std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace

ExemptThread::ExemptThread() { ++exempt; }
ExemptThread::~ExemptThread() { --exempt; }

int64_t Allocations() { return count; }
void FailAllocation(int64_t nth) {
  failed = false;
  fail_in = nth;
}
bool AllocationFailed() { return failed; }
void TraceAllocations(bool on) { tracing = on; }

}  // namespace longtake

void* operator new(size_t bytes) { return longtake::Allocate(bytes, 0); }
void* operator new[](size_t bytes) { return longtake::Allocate(bytes, 0); }
void* operator new(size_t bytes, std::align_val_t alignment) {
  return longtake::Allocate(bytes, static_cast<size_t>(alignment));
}
void* operator new[](size_t bytes, std::align_val_t alignment) {
  return longtake::Allocate(bytes, static_cast<size_t>(alignment));
}
// Those that do not throw call the others by default, but not those of AddressSanitizer.
void* operator new(size_t bytes, const std::nothrow_t&) noexcept try {
  return longtake::Allocate(bytes, 0);
} catch (const std::bad_alloc&) {
  return nullptr;
}
void* operator new[](size_t bytes, const std::nothrow_t& nothrow) noexcept { return operator new(bytes, nothrow); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, size_t, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, size_t, std::align_val_t) noexcept { std::free(memory); }
