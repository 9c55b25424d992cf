// The processor's hint inside a loop that looks at memory until another thread changes it.
#ifndef LONGTAKE_ENGINE_CORE_SPIN_PAUSE_H_
#define LONGTAKE_ENGINE_CORE_SPIN_PAUSE_H_

#if !defined(__x86_64__) && !defined(__aarch64__)
#include <thread>
#endif

namespace longtake {

// Takes 10 to 40 ns and leaves the core's other hardware thread more of the core meanwhile.
inline void SpinPause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("isb" ::: "memory");  // `yield` is a no-op on most of them
#else
  std::this_thread::yield();
#endif
}

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_CORE_SPIN_PAUSE_H_
