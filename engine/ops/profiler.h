// Time by operation. Off by default; an operation then costs one additional branch.
#ifndef LONGTAKE_ENGINE_OPS_PROFILER_H_
#define LONGTAKE_ENGINE_OPS_PROFILER_H_

#include <chrono>
#include <cstdint>
#include <map>
#include <string_view>
#include <vector>

#include "common/mutex.h"

namespace longtake {

class Profiler {
 public:
  struct Zone {
    std::string_view operation;
    uint64_t calls = 0;
    double seconds = 0;
  };

  // Must not be called while an operation runs.
  void Enable(bool enabled) { enabled_ = enabled; }
  bool enabled() const { return enabled_; }

  void Add(std::string_view operation, double seconds);
  // The zones so far, longest first. Zones and Add are thread-safe.
  std::vector<Zone> zones() const;
  void Reset();

 private:
  bool enabled_ = false;
  mutable Mutex mutex_;
  std::map<std::string_view, Zone> zones_;
};

// Measures from construction to destruction. On an asynchronous backend that is the time of launching the operation.
class ProfilerScope {
 public:
  // `operation` must be a string literal: the profiler keeps the view.
  ProfilerScope(Profiler& profiler, std::string_view operation)
      : profiler_(profiler.enabled() ? &profiler : nullptr), operation_(operation) {
    if (profiler_ != nullptr) started_ = std::chrono::steady_clock::now();
  }
  ~ProfilerScope() {
    if (profiler_ == nullptr) return;
    profiler_->Add(operation_, std::chrono::duration<double>(std::chrono::steady_clock::now() - started_).count());
  }
  ProfilerScope(const ProfilerScope&) = delete;
  ProfilerScope& operator=(const ProfilerScope&) = delete;

 private:
  Profiler* profiler_;
  std::string_view operation_;
  std::chrono::steady_clock::time_point started_;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_OPS_PROFILER_H_
