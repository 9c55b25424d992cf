// Who runs which pass next. One scheduler drives one device; it has no thread of its own and does everything on the
// threads that call it. README.md beside this file is normative.
#ifndef LONGTAKE_SCHEDULER_SCHEDULER_H_
#define LONGTAKE_SCHEDULER_SCHEDULER_H_

#include <limits>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "scheduler/device.h"
#include "scheduler/policy.h"

namespace longtake::scheduler {

class Clock {
 public:
  virtual ~Clock() = default;
  // Since any fixed moment; never goes back.
  virtual absl::Duration Now() const = 0;
};

struct Options {
  int places = 1;                  // sessions open on the device at a time
  int live_places = 0;             // of them, those that offline requests may not take
  int max_waiting = 16;            // requests of each delivery that wait for a place
  int max_batch_passes = 64;       // passes of one Submit
  int max_undelivered_chunks = 2;  // of a session: at this many its passes stop until a chunk is delivered
  bool lanes_overlap = false;      // the device runs decodes beside transformer passes, not after them

  // A live stream whose lead reaches lead_high rests until it has fallen to lead_low, while anybody else has work.
  absl::Duration lead_high = absl::InfiniteDuration(), lead_low = absl::ZeroDuration();
  // Begins no block from this lead on, even on an idle device.
  absl::Duration max_lead = absl::InfiniteDuration();
  // Share of the device that live streams may be promised: one more is admitted if what all of them need by any moment
  // is not more than that share of the time until then; else it waits. One is always admitted.
  double max_live_load = std::numeric_limits<double>::infinity();
  // A request whose predicted wait for its start is longer is refused.
  absl::Duration max_wait = absl::InfiniteDuration();
  // A session parked so long because its client does not read is ended.
  absl::Duration max_unread = absl::InfiniteDuration();
  std::map<std::string, double> tenant_weights;  // above 0; 1 for those not named
  std::shared_ptr<Policy> policy;                // null: SlackPolicy
};

enum class Delivery { kLive, kOffline };

struct Request {
  SessionId id = 0;
  Delivery delivery = Delivery::kLive;
  std::vector<int> block_latents;  // latent frames of each block, each above 0
  int denoise_steps = 1;           // of a block
  // Where not empty, a live session's block may have fewer steps when it would be late otherwise: one of these,
  // descending from denoise_steps.
  std::vector<int> step_ladder;
  // Blocks, ascending from 1, before which another prompt is encoded: prompts 1, 2, ... Prompt 0 is the first block's.
  std::vector<int> prompt_blocks;
  // What a pass over one latent frame costs, in a unit that is one for all of the device's sessions: transformer
  // tokens, or anything in proportion to them. Above 0.
  double latent_tokens = 1;
  // What decoding the video's first latent frame costs, as a share of any other's: a causal VAE makes one frame of it,
  // and of the others as many as its temporal stride. Above 0.
  double first_decode = 1;
  // Length of each block's chunk, as many as block_latents; empty: the stream has no pace, and each chunk is due at
  // once.
  std::vector<double> block_seconds;
  // The session's own Options::max_lead, where that is less: what its viewer asks for is then shown as soon.
  absl::Duration max_lead = absl::InfiniteDuration();
  std::string tenant;
  int priority = 0;  // among the tenant's offline requests; higher goes first
};

// What a request may expect, from pass times and from what was admitted before it.
struct Quote {
  absl::Status status;  // as Add would answer now
  absl::Duration first_chunk,
      last_chunk;              // from now until decoded, at the latest; infinite before pass times are known
  absl::Duration start;        // from now until it gets a place
  double confidence = 0;       // share of the live quotes so far that were kept, (kept + 1) / (given + 2)
  int waiting = 0;             // requests before it
  absl::Duration retry_after;  // of a refused one
};

// A pass that is done.
struct PassReport {
  PassKind kind = PassKind::kDenoise;
  int block = 0;
  int step = 0, steps = 0;          // passes of this kind done in the block, and of them in all
  int passes_done = 0, passes = 0;  // of the session; a change of its prompt or of a block's steps changes `passes`
  int prompt = 0;                   // of kEncodePrompt
  absl::Duration started, ended;    // the batch's Submit and this pass's completion, on the scheduler's clock
  double device_seconds = 0;
};

// Hears what becomes of requests. Calls come one at a time, never under the scheduler's lock, and in the order in which
// things happened; they must return quickly and may call the scheduler.
class Listener {
 public:
  virtual ~Listener() = default;
  virtual void OnWaiting(SessionId session, int position) = 0;  // 1: the next of its delivery to start
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
  int ahead = 0;    // of them, those whose lead is long enough to rest
  int waiting = 0;
  int passes_in_flight = 0;
  // Until the running session with the fewest passes to go should end, by the mean time of batches so far. One second
  // before there is a mean.
  absl::Duration next_place;
  std::vector<double> slacks;   // of the live sessions with a place; seconds
  double live_load = 0;         // share of the device that the live sessions with a place need
  double prediction_error = 0;  // CostModel::error
  double kind_error[Work::kKinds] = {};
  double backlog_seconds = 0;  // predicted device time of all that is accepted and not made
  uint64_t batches = 0;
  uint64_t quotes = 0, quotes_kept = 0;                 // of admitted live requests whose first chunk is decoded
  std::map<std::string, double> tenant_device_seconds;  // since the start
};

class Scheduler {
 public:
  // `clock`, `device` and `listener` outlive it.
  Scheduler(const Options& options, const Clock* clock, Device* device, Listener* listener);
  // Waits for passes under way; starts no others. No OnEnded is called from here on.
  ~Scheduler();
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  // ResourceExhausted: the waiting queue is full, or the wait would be longer than max_wait. After StopAdmission: its
  // status. InvalidArgument: the request contradicts itself, or its id is in use. Nothing is kept of a refused request.
  absl::Status Add(Request request);

  // What Add of this request would mean now. Keeps nothing.
  Quote GetQuote(const Request& request) const;

  // Does what time alone has made due: ends streams unread too long. Returns when to call again at the latest, on the
  // clock; InfiniteDuration: not before another call changed something.
  absl::Duration Poll();

  // Ends the session with `why`: at once, or when its pass under way is done. Unknown and ended ids are ignored.
  void Cancel(SessionId session, absl::Status why);

  // From block `block` on, or from the first later one that has not begun, the session's prompt is number `prompt`; its
  // encoding is a pass before that block. A later change for the same block takes its place. Returns the block.
  // NotFound: no such session, or it is ending. FailedPrecondition: no such block is left.
  absl::StatusOr<int> ChangePrompt(SessionId session, int block, int prompt);

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
