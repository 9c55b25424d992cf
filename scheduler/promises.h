// Private to scheduler/: from the predicted time of a first chunk to a promise that is kept, by what earlier
// predictions missed by.
#ifndef LONGTAKE_SCHEDULER_PROMISES_H_
#define LONGTAKE_SCHEDULER_PROMISES_H_

#include <cstdint>
#include <deque>
#include <map>
#include <optional>

#include "absl/time/time.h"
#include "scheduler/device.h"
#include "scheduler/quantiles.h"

namespace longtake::scheduler {

// Costs predict when a first chunk is decoded. A promise also covers encoding and sending, of which the median is
// known, and what the prediction cannot know (requests that come later, threads that compete): it is longer by the
// factor that 999 of a thousand first chunks need at most, by the tail of those that were measured. A client that takes
// much longer than the others to receive its chunk does not count against it. Whoever ends without a first chunk after
// the promise has passed does, or only the lucky ones would be counted.
class Promises {
 public:
  // From now until the first chunk is delivered, at the latest. `waits`: it does not start at once.
  absl::Duration Promise(absl::Duration predicted, bool waits) const;
  // The share of promises so far that were kept, (kept + 1) / (given + 2).
  double confidence() const { return static_cast<double>(kept_ + 1) / static_cast<double>(given_ + 2); }
  uint64_t given() const { return given_; }
  uint64_t kept() const { return kept_; }

  // A live request was accepted with this prediction and promise, both from now.
  void Given(SessionId id, absl::Duration now, absl::Duration predicted, absl::Duration promised);
  void Decoded(SessionId id, absl::Duration now);
  void Delivered(SessionId id, absl::Duration now);
  // The session has ended; `whole`: all of its video is made, so that its first chunk may still be on its way.
  void Ended(SessionId id, absl::Duration now, bool whole);

 private:
  struct Open {
    absl::Duration given, predicted, promised;
    std::optional<absl::Duration> decoded;
  };
  double Expected(absl::Duration predicted) const;  // seconds, before any factor
  void Observe(const Open& open, absl::Duration took);

  std::map<SessionId, Open> open_;  // promises neither kept nor known to be broken
  std::deque<SessionId> made_;      // of them, those whose session has ended whole, oldest first
  Quantiles factors_;
  Quantiles deliveries_;           // seconds from decoded to delivered
  uint64_t given_ = 0, kept_ = 0;  // of those that are known
};

}  // namespace longtake::scheduler

#endif  // LONGTAKE_SCHEDULER_PROMISES_H_
