#include "engine/ops/profiler.h"

#include <algorithm>

namespace longtake {

void Profiler::Add(std::string_view operation, double seconds) {
  const MutexLock lock(mutex_);
  Zone& zone = zones_[operation];
  zone.operation = operation;
  ++zone.calls;
  zone.seconds += seconds;
}

std::vector<Profiler::Zone> Profiler::zones() const {
  std::vector<Zone> zones;
  {
    const MutexLock lock(mutex_);
    for (const auto& [name, zone] : zones_) zones.push_back(zone);
  }
  std::stable_sort(zones.begin(), zones.end(), [](const Zone& a, const Zone& b) { return a.seconds > b.seconds; });
  return zones;
}

void Profiler::Reset() {
  const MutexLock lock(mutex_);
  zones_.clear();
}

}  // namespace longtake
