#include "bench/peak_memory.h"

#include <algorithm>
#include <chrono>

#include "engine/core/system_files.h"

namespace longtake {

uint64_t AnonymousBytes() { return StatusBytes("/proc/self/status", "RssAnon:"); }

PeakMemory::PeakMemory() {
  thread_ = std::thread([this] {
    while (!stop_.load()) {
      peak_.store(std::max(peak_.load(), AnonymousBytes()));
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  });
}

PeakMemory::~PeakMemory() {
  stop_.store(true);
  thread_.join();
}

uint64_t PeakMemory::peak() {
  const uint64_t peak = std::max(peak_.load(), AnonymousBytes());
  return peak > baseline_ ? peak - baseline_ : 0;
}

void PeakMemory::Restart() { peak_.store(0); }

}  // namespace longtake
