// Whether the engine's device still works, judged by its answers and by how long its passes take.
#ifndef LONGTAKE_SERVER_VIDEO_DEVICE_WATCH_H_
#define LONGTAKE_SERVER_VIDEO_DEVICE_WATCH_H_

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/clock.h"
#include "common/mutex.h"
#include "common/pass_kind.h"

namespace longtake::server {

struct DeviceHealth {
  enum class State { kWorks, kStuck, kLost };
  State state = State::kWorks;
  std::string reason;  // for the log; empty: it works
};

// A device is lost once OpenSession says Unavailable, and stays so. It is stuck while a batch has been under way for
// longer than `stuck_after`, and than `stuck_factor` times what it and all that was under way before it should take by
// the longest pass of each kind so far. Thread-safe.
class DeviceWatch {
 public:
  // `clock` outlives it.
  DeviceWatch(absl::Duration stuck_after, double stuck_factor, const Clock* clock)
      : stuck_after_(stuck_after), stuck_factor_(stuck_factor), clock_(clock) {}

  // OpenSession has answered.
  void OnOpened(const absl::Status& status);
  // A batch is about to go to the device. Returns its number.
  uint64_t OnSubmit(const std::vector<PassKind>& passes);
  // One of its passes is done.
  void OnPassDone(uint64_t batch, PassKind kind, double device_seconds);

  DeviceHealth health() const;

 private:
  using Counts = std::array<int, kPassKinds.size()>;  // passes of each of kPassKinds
  struct Batch {
    Counts left = {};          // passes that are not done
    Counts all = {};           // for the log
    absl::Duration submitted;  // on the clock
    absl::Duration predicted;  // with all that was under way before it
  };
  absl::Duration Predicted(const Counts& passes) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const absl::Duration stuck_after_;
  const double stuck_factor_;
  const Clock* const clock_;
  mutable Mutex mutex_;
  uint64_t last_batch_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<uint64_t, Batch> batches_ ABSL_GUARDED_BY(mutex_);  // under way
  // Device time of the longest pass of each kind so far; zero before the first.
  std::array<absl::Duration, kPassKinds.size()> longest_ ABSL_GUARDED_BY(mutex_) = {};
  std::string lost_ ABSL_GUARDED_BY(mutex_);  // what OpenSession said
};

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_VIDEO_DEVICE_WATCH_H_
