// The processor's hint for a loop that polls memory until another thread changes it.
#ifndef LONGTAKE_ENGINE_CORE_SPIN_PAUSE_H_
#define LONGTAKE_ENGINE_CORE_SPIN_PAUSE_H_

#if !defined(__x86_64__) && !defined(__aarch64__)
#include <thread>
#endif

namespace longtake {

// Takes 10 to 40 ns, during which the core's other hardware thread gets more of the core.
inline void SpinPause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("isb" ::: "memory");  // `yield` is a no-op on most ARM cores
#else
  std::this_thread::yield();
#endif
}

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_CORE_SPIN_PAUSE_H_
