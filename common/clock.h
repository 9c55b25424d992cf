// Time that is passed in, so that tests and simulations can make it.
#ifndef LONGTAKE_COMMON_CLOCK_H_
#define LONGTAKE_COMMON_CLOCK_H_

#include <chrono>

#include "absl/time/time.h"

namespace longtake {

class Clock {
 public:
  virtual ~Clock() = default;
  // Since a fixed moment; never goes back. Any thread.
  virtual absl::Duration Now() const = 0;
};

class MonotonicClock : public Clock {
 public:
  absl::Duration Now() const override { return absl::FromChrono(std::chrono::steady_clock::now().time_since_epoch()); }
};

}  // namespace longtake

#endif  // LONGTAKE_COMMON_CLOCK_H_
