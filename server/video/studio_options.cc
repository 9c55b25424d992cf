#include "server/video/studio_options.h"

namespace longtake::server {

scheduler::Options SchedulerOptions(const StudioOptions& options) {
  return {.places = options.max_sessions,
          .live_places = options.live_places < 0 ? options.max_sessions / 2 : options.live_places,
          .max_waiting = options.max_waiting,
          .max_batch_passes = options.max_batch_passes,
          .max_undelivered_blocks = options.max_undelivered_chunks,
          .lead_high = options.lead,
          .lead_low = options.lead * 0.75,
          .max_lead = options.max_lead,
          .max_live_load = options.max_live_load,
          .max_wait = options.max_wait,
          // Viewers are given up one by one, by their calls.
          .max_unread = absl::InfiniteDuration()};
}

}  // namespace longtake::server
