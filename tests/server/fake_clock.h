// A clock that stands still until a test moves it. Any thread may read it.
#ifndef LONGTAKE_TESTS_SERVER_FAKE_CLOCK_H_
#define LONGTAKE_TESTS_SERVER_FAKE_CLOCK_H_

#include <atomic>
#include <cstdint>

#include "absl/time/time.h"
#include "common/clock.h"

namespace longtake {

class FakeClock : public Clock {
 public:
  absl::Duration Now() const override { return absl::Nanoseconds(now_.load()); }
  void Advance(absl::Duration by) { now_ += absl::ToInt64Nanoseconds(by); }

 private:
  std::atomic<int64_t> now_ = 1'000'000'000;
};

}  // namespace longtake

#endif  // LONGTAKE_TESTS_SERVER_FAKE_CLOCK_H_
