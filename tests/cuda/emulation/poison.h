// Marks memory as not to be touched, where AddressSanitizer is compiled in; else nothing happens.
#ifndef LONGTAKE_TESTS_CUDA_EMULATION_POISON_H_
#define LONGTAKE_TESTS_CUDA_EMULATION_POISON_H_

#include <cstddef>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace longtake::emulation {

inline void PoisonMemory([[maybe_unused]] const void* data, [[maybe_unused]] size_t bytes) {
#if defined(__SANITIZE_ADDRESS__)
  __asan_poison_memory_region(data, bytes);
#endif
}
inline void UnpoisonMemory([[maybe_unused]] const void* data, [[maybe_unused]] size_t bytes) {
#if defined(__SANITIZE_ADDRESS__)
  __asan_unpoison_memory_region(data, bytes);
#endif
}

}  // namespace longtake::emulation

#endif  // LONGTAKE_TESTS_CUDA_EMULATION_POISON_H_
