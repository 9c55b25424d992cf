// What the server may be told about the videos that it makes.
#ifndef LONGTAKE_SERVER_VIDEO_STUDIO_OPTIONS_H_
#define LONGTAKE_SERVER_VIDEO_STUDIO_OPTIONS_H_

#include <cstddef>
#include <cstdint>

#include "absl/time/time.h"
#include "scheduler/options.h"
#include "server/video/request.h"

namespace longtake::server {

struct StudioOptions {
  int max_sessions = 4;                          // places on the engine; at most the engine's
  int live_places = -1;                          // of them, those that offline requests may not take; below 0: half
  int max_waiting = 16;                          // requests of each delivery beyond those
  double max_live_load = 0.9;                    // share of the engine that admitted live videos may need to keep up
  absl::Duration max_wait = absl::Seconds(60);   // for a place: a request with a longer predicted wait is refused, and
                                                 // one that has waited for so long ends
  absl::Duration lead = absl::Seconds(30);       // of a live video over its viewer; then it rests until 3/4 of it
  absl::Duration max_lead = absl::Seconds(90);   // the same on an idle engine
  absl::Duration max_unread = absl::Minutes(2);  // a viewer who reads nothing for so long is given up
  int64_t keep_bytes = int64_t{1} << 30;         // of chunks, in memory
  size_t keep_ended = 10'000;                    // ended videos whose names are known
  int max_batch_passes = 64;                     // of one batch on the engine
  int max_undelivered_chunks = 2;                // of a video whose client does not read
  int encoder_threads = 2;
  RequestLimits limits = {};
  // The device counts as stuck while a batch is under way for longer than this, and than so many times its prediction.
  absl::Duration stuck_after = absl::Seconds(30);
  double stuck_factor = 20;
  // Of the store: above so many bytes of chunks the oldest ended videos are removed, and those that ended so long ago.
  int64_t store_bytes = int64_t{10} << 30;
  absl::Duration store_age = absl::Hours(24 * 7);
  size_t max_part_bytes = 3'500'000;  // of a chunk's message: many clients take 4 MiB at most
};

// The scheduler's settings that follow from these.
scheduler::Options SchedulerOptions(const StudioOptions& options);

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_VIDEO_STUDIO_OPTIONS_H_
