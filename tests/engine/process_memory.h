// What this process has taken, for tests that compare it with a plan.
#ifndef LONGTAKE_TESTS_ENGINE_PROCESS_MEMORY_H_
#define LONGTAKE_TESTS_ENGINE_PROCESS_MEMORY_H_

#include <cstdint>

#include "engine/core/system_files.h"

namespace longtake {

// Sanitizers map terabytes for themselves and keep memory that was freed, so no figure of a process is the engine's.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif

// What the process has allocated and touched, whether or not it lies in memory now. Pages of files are not counted: the
// kernel takes and gives those as others need memory.
inline int64_t AnonymousBytes() {
  return static_cast<int64_t>(StatusBytes("/proc/self/status", "RssAnon:") +
                              StatusBytes("/proc/self/status", "VmSwap:"));
}

}  // namespace longtake

#endif  // LONGTAKE_TESTS_ENGINE_PROCESS_MEMORY_H_
