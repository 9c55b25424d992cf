// Who runs which pass next. One scheduler drives one device; it has no thread of its own and does everything on the
// threads that call it. README.md beside this file is normative.
#ifndef LONGTAKE_SCHEDULER_SCHEDULER_H_
#define LONGTAKE_SCHEDULER_SCHEDULER_H_

#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "scheduler/device.h"

namespace longtake::scheduler {

class Clock {
 public:
  virtual ~Clock() = default;
  // Since any fixed moment; never goes back.
  virtual absl::Duration Now() const = 0;
};

struct Options {
  int places = 1;                  // sessions open on the device at a time
  int max_waiting = 16;            // requests that wait for a place
  int max_batch_passes = 64;       // passes of one Submit
  int max_undelivered_chunks = 2;  // of a session: at this many its passes stop until a chunk is delivered
  bool lanes_overlap = false;      // the device runs decodes beside transformer passes, not after them
};

enum class Delivery { kLive, kOffline };

struct Request {
  SessionId id = 0;
  Delivery delivery = Delivery::kLive;
  std::vector<int> block_latents;  // latent frames of each block, each above 0
  int denoise_steps = 1;           // of a block
};

// A pass that is done.
struct PassReport {
  PassKind kind = PassKind::kDenoise;
  int block = 0;
  int step = 0, steps = 0;          // passes of this kind done in the block, and of them in all
  int passes_done = 0, passes = 0;  // of the session
  absl::Duration started, ended;    // the batch's Submit and this pass's completion, on the scheduler's clock
  double device_seconds = 0;
};

// Hears what becomes of requests. Calls come one at a time, never under the scheduler's lock, and in the order in which
// things happened; they must return quickly and may call the scheduler.
class Listener {
 public:
  virtual ~Listener() = default;
  virtual void OnWaiting(SessionId session, int position) = 0;  // 1: the next to start
  virtual void OnAdmitted(SessionId session) = 0;
  virtual void OnPass(SessionId session, const PassReport& report) = 0;
  // All latent frames of the block are decoded: its chunk can be made. Blocks come in order, without gaps.
  virtual void OnBlock(SessionId session, int block) = 0;
  // Exactly once for each request that Add accepted, and nothing after it; its place is free by then. OK: all blocks
  // are decoded.
  virtual void OnEnded(SessionId session, const absl::Status& status) = 0;
};

struct Stats {
  int running = 0;  // sessions with a place
  int parked = 0;   // of them, those that wait for their client to read
  int waiting = 0;
  int passes_in_flight = 0;
  // Until the running session with the fewest passes to go should end, by the mean time of batches so far. One second
  // before there is a mean.
  absl::Duration next_place;
};

class Scheduler {
 public:
  // `clock`, `device` and `listener` outlive it.
  Scheduler(const Options& options, const Clock* clock, Device* device, Listener* listener);
  // Waits for passes under way; starts no others. No OnEnded is called from here on.
  ~Scheduler();
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  // ResourceExhausted: the waiting queue is full. After StopAdmission: its status. InvalidArgument: the request
  // contradicts itself, or its id is in use. Nothing is kept of a refused request.
  absl::Status Add(Request request);

  // Ends the session with `why`: at once, or when its pass under way is done. Unknown and ended ids are ignored.
  void Cancel(SessionId session, absl::Status why);

  // One more of the session's chunks has gone to its client.
  void ChunkDelivered(SessionId session);

  // Refuses every later Add, and ends the requests that wait, with `why`. Sessions that have a place go on.
  void StopAdmission(absl::Status why);

  // Cancel for every session there is.
  void CancelAll(absl::Status why);

  Stats stats() const;

 private:
  class Impl;
  std::shared_ptr<Impl> impl_;  // completions hold it too
};

}  // namespace longtake::scheduler

#endif  // LONGTAKE_SCHEDULER_SCHEDULER_H_
