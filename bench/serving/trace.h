// Who comes when, and wants what. Made before the simulation, so that each policy meets the same viewers.
#ifndef LONGTAKE_BENCH_SERVING_TRACE_H_
#define LONGTAKE_BENCH_SERVING_TRACE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "bench/serving/pass_table.h"

namespace longtake::bench {

struct Visitor {
  double arrives = 0;  // seconds
  double seconds = 0;  // of video
  double scale = 1;    // of the picture's size, in tokens
  bool live = true;
  double patience = 0;  // seconds for the first chunk; then it leaves
  bool slow = false;    // takes half of a chunk's duration to read it
  int tenant = 0;
};

struct TraceOptions {
  uint64_t seed = 1;
  int sessions = 10'000;
  // "poisson" | "bursty" | "daily" | "all": a third of them in each of these three ways, in this order; "wave" | "peak"
  std::string arrivals = "all";
  bool mixed_sizes = false;            // else all of one size
  double load = 0.8;                   // offered live video seconds a second over SaturatedRate
  double live_share = 0.7;             // of the visitors; 0: all are offline, and the load is theirs
  double shortest = 5, longest = 240;  // seconds of video
  double duration = 0;                 // seconds; above 0: the trace ends then, whatever `sessions` says
  // Of "wave", a day: the load goes from (1 - swing) of the mean to (1 + swing) of it and back, once in `period`
  // seconds.
  double period = 0, swing = 0;
  // Of "peak": from peak_begin on the load is peak_factor times as high, for peak_seconds.
  double peak_begin = 0, peak_seconds = 0, peak_factor = 1;
};

// Load of "wave" and "peak" at a moment, in seconds from the beginning.
double LoadAt(const TraceOptions& options, double seconds);

// The same visitors at each load, in the same pattern, which is stretched over as much more time as the load is lower.
// Lengths are log-uniform. 30 % are offline, if nothing else is asked for; 10 % leave after 4 s without a
// first chunk, the other live ones after 60 s; 5 % are live and take half of a chunk's length to read it.
std::vector<Visitor> MakeTrace(const TraceOptions& options, const PassTable& table);

// Seconds of video that one lane of one device makes in a second, with the table's largest batches and encoders at
// rest: the unit of load, whatever else is simulated.
double SaturatedRate(const TraceOptions& options, const PassTable& table);

}  // namespace longtake::bench

#endif  // LONGTAKE_BENCH_SERVING_TRACE_H_
