// How much anonymous memory this process takes, seen by a thread that looks every few milliseconds.
#ifndef LONGTAKE_BENCH_PEAK_MEMORY_H_
#define LONGTAKE_BENCH_PEAK_MEMORY_H_

#include <atomic>
#include <cstdint>
#include <thread>

namespace longtake {

// Anonymous resident bytes now (RssAnon): heap and stacks; neither mapped weight files, which the kernel may drop at
// any time, nor program code.
uint64_t AnonymousBytes();

class PeakMemory {
 public:
  PeakMemory();
  ~PeakMemory();
  // The largest number of bytes since construction, or since Restart, beyond those at construction: what the program
  // and its libraries took before (1.0 MB of longtake-bench) is nobody's plan.
  uint64_t peak();
  // Forgets the peak so far.
  void Restart();

 private:
  const uint64_t baseline_ = AnonymousBytes();
  std::atomic<uint64_t> peak_{0};
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

}  // namespace longtake

#endif  // LONGTAKE_BENCH_PEAK_MEMORY_H_
