// The scheduler's constants that are choices, each with its reason. What is an error of a prediction is not here: that
// is measured (quantiles.h), and here stands only what counts until there are measurements.
#ifndef LONGTAKE_SCHEDULER_TUNING_H_
#define LONGTAKE_SCHEDULER_TUNING_H_

#include <cstddef>
#include <cstdint>

#include "absl/time/time.h"

namespace longtake::scheduler::tuning {

// --- Batches ---------------------------------------------------------------------------------------------------------

// No batch is longer than so many fixed times, unless a single pass is: sharing it further could save 1/20 of the
// device, and whoever is due next waits for it. Admission counts one pass's time for that, which is of the same size.
// With 60 times while a live request waited, the device made 1 % more, and 4 to 8 of a hundred viewers who came stalled
// in overload.
inline constexpr double kLongestInFixed = 20;
// A pass without slack still shares its batch until the batch takes so many fixed times more than the pass alone.
// Without that, streams that are all late would run one at a time, and the device would lose its fixed time on each.
inline constexpr double kRoomInFixed = 3;
// Every 16th batch may hold two passes whatever their slack. If the fixed cost is estimated as 0, sharing looks useless
// and is never tried, so the estimate would never improve.
inline constexpr uint64_t kExploreEvery = 16;
// A pass that could run and had no batch for so long begins the next one...
inline constexpr absl::Duration kTurnAfter = absl::Seconds(2);
// ...as long as such turns have had no more than this share of the lane's time. Of n sessions that are passed over,
// each so has a pass within 2 s + 100 n passes' time. Live streams are not promised that share: with 5 % of it, on top
// of 95 % that were, 28 of 2,100 simulated viewers stalled in bursts, with 1 % or less none.
inline constexpr double kTurnShare = 0.01;

// --- A lane's second batch -------------------------------------------------------------------------------------------

// A lane has at most two batches under way: one runs, one is ready behind it.
inline constexpr size_t kLaneDepth = 2;
// The second is composed this long before the first could end: longer than a completion takes to get to the loop and
// the next batch to the device (tens of microseconds on an idle machine, a millisecond beside busy encoders), and short
// against a pass, because what arrives after the decision waits one batch longer.
inline constexpr absl::Duration kPrefetch = absl::Milliseconds(2);

// --- Admission -------------------------------------------------------------------------------------------------------

// A stream starts now if its first chunk comes within so many times what it takes alone. A later one waits in the
// queue: its viewer's clock would start whenever the device had a moment for it, and what follows was found to fit only
// from the later moment on.
inline constexpr double kLatestStart = 4;
// The share of a device that offline work can count on: its quotes are of at most ten times the time alone.
inline constexpr double kLeastShare = 0.1;
// Requests that are looked at behind one that does not fit. Each costs a search over all streams.
inline constexpr size_t kBackfillDepth = 8;
// A viewer who has read nothing for so many blocks' time (at least a second) while chunks lie ready counts as asleep.
inline constexpr double kAsleepBlocks = 2;
// Retry-after of a refusal: never shorter than a second; this long where nothing can be predicted; and at most ten
// minutes, because a prediction further ahead is none.
inline constexpr absl::Duration kRetryLeast = absl::Seconds(1), kRetryUnknown = absl::Seconds(5),
                                kRetryMost = absl::Minutes(10);

// --- Measured quantities ---------------------------------------------------------------------------------------------

// Values that a window holds: enough for a 99th percentile, and forgotten within minutes.
inline constexpr size_t kWindow = 256;
// Until a window holds so many, what is unknown counts instead.
inline constexpr size_t kFew = 16;

// Admission and steps count with the 95th percentile of batches, loads and blocks; the earliest end of a batch is the
// 5th.
inline constexpr double kSafeQuantile = 0.95, kEarlyQuantile = 0.05;
// Promises are kept at the 99.9th percentile of first chunks, so that 99 of a hundred viewers are sure to be content:
// at the 99th, which is known from 256 values to half a percent only, 2 of 55 and 8 of 365 first chunks came later, by
// 2 to 70 ms. No window of this size has that percentile. Where a tail falls exponentially, as waiting times' do, it
// lies as far beyond the 99th as that lies beyond the 90th.
inline constexpr double kPromiseQuantile = 0.99, kPromiseTailFrom = 0.90;
// Of fewer first chunks the 99th percentile is only the latest of few: until there are so many, a promise is not below
// kUnknownFirstChunk. Nor is it ever for who has to wait for a place: that takes seconds of other sessions' work, and a
// machine that is slower for ten seconds every few minutes is forgotten in between. Without it 2 of 86 first chunks at
// ten times overload came 0.2 and 0.3 s after promises of 8.2 and 7.0 s; the median wait is quoted half too long
// anyway.
inline constexpr size_t kFewPromises = 100;

// Actual over predicted time, before it is known: of a first chunk, of a block, of a batch, and of the load of many
// batches. The first two are what two busy cores showed; a cost model that has seen a batch of each kind is within 20
// %.
inline constexpr double kUnknownFirstChunk = 1.5, kUnknownBlock = 1.25, kUnknownBatch = 1.2, kUnknownBatchEarly = 0.8,
                        kUnknownLoad = 1.05;
// A first chunk that was off by more has other reasons than its prediction (a machine that stood still), and would
// spoil all promises after it.
inline constexpr double kFarOffFirstChunk = 3;
// What scatters however short the prediction is: passes of others under way, threads that get their turn. Without it
// the shortest quotes would decide the factor of all (0.1 s and 1 s on two cores: 1.45 times what came, with it 1.32).
inline constexpr absl::Duration kFirstChunkScatter = absl::Milliseconds(50);
// The way to the client and back, which nobody here sees.
inline constexpr double kFirstChunkBeyond = 1.05;
// No first chunk is promised sooner. A viewer does not notice less, and on an idle server quotes of 3 ms were broken by
// a thread that got its turn 2 ms later.
inline constexpr absl::Duration kLeastPromise = absl::Milliseconds(50);
// Batches whose times are added up to one value of the load's error. Single batches scatter, and their errors cancel.
inline constexpr int kLoadBatches = 32;

// Deliveries of a session whose longest counts: a hiccup is forgotten after 16 chunks.
inline constexpr size_t kDeliveries = 16;

// --- Tenants and prompts ---------------------------------------------------------------------------------------------

// Tenants without a request that are remembered besides those whose weight is configured; the one idle for longest is
// forgotten first. Each is a label of a metric.
inline constexpr size_t kIdleTenants = 100;
// Prompts of a session: of 4 KB each at the server's default limit.
inline constexpr int kMostPrompts = 1000;

}  // namespace longtake::scheduler::tuning

#endif  // LONGTAKE_SCHEDULER_TUNING_H_
