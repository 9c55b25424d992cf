// The scheduler's settings.
#ifndef LONGTAKE_SCHEDULER_OPTIONS_H_
#define LONGTAKE_SCHEDULER_OPTIONS_H_

#include <limits>
#include <map>
#include <memory>
#include <string>

#include "absl/time/time.h"

namespace longtake::scheduler {

class Policy;

struct Options {
  int places = 1;                  // sessions open on each device at a time
  int live_places = 0;             // of them, those that offline requests may not take
  int max_waiting = 16;            // requests of each delivery that wait for a place
  int max_batch_passes = 64;       // passes of one Submit
  int max_undelivered_blocks = 2;  // of a session: at this many its transformer passes stop until one is delivered

  // A live stream whose lead reaches lead_high rests until it has fallen to lead_low, while anybody else has work.
  absl::Duration lead_high = absl::InfiniteDuration(), lead_low = absl::ZeroDuration();
  // Begins no block from this lead on, even on an idle device.
  absl::Duration max_lead = absl::InfiniteDuration();
  // The share of a device that live streams may be promised at most. Infinite: live streams are admitted whatever the
  // load. Where it is not, the measured errors of the cost model take their part off it.
  double max_live_load = std::numeric_limits<double>::infinity();
  // A request whose predicted wait is longer is refused, and one that has waited for so long is ended.
  absl::Duration max_wait = absl::InfiniteDuration();
  // A session whose client has taken nothing for so long, though chunks lie ready, is ended.
  absl::Duration max_unread = absl::InfiniteDuration();
  // Live requests of a tenant, waiting and running; 0: any number.
  int max_tenant_live = 0;
  std::map<std::string, double> tenant_weights;  // above 0; 1 for those not named
  std::shared_ptr<Policy> policy;                // null: SlackPolicy
};

}  // namespace longtake::scheduler

#endif  // LONGTAKE_SCHEDULER_OPTIONS_H_
