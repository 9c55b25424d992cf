// What the scheduler tells of its sessions.
#ifndef LONGTAKE_SCHEDULER_LISTENER_H_
#define LONGTAKE_SCHEDULER_LISTENER_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "scheduler/cost_model.h"
#include "scheduler/device.h"

namespace longtake::scheduler {

// A pass that is done.
struct PassReport {
  PassKind kind = PassKind::kDenoise;
  int block = 0;
  int step = 0, steps = 0;          // passes of this kind done in the block, and of them in all
  int level = 0;                    // of kDenoise and kDecode: how the block is made, index into Request::ladder
  int passes_done = 0, passes = 0;  // of the session; a change of its prompt or of a block's steps changes `passes`
  int prompt = 0;                   // of kEncodePrompt
  absl::Duration started, ended;    // the batch's Submit and this pass's completion, on the scheduler's clock
  double device_seconds = 0;
};

// All calls come from the scheduler's loop, one at a time and in the order in which things happened. They must return
// quickly. They may call the entries of the scheduler that post, not those that wait.
class Listener {
 public:
  virtual ~Listener() = default;
  virtual void OnWaiting(SessionId session, int position) = 0;  // 1: the oldest of its delivery
  virtual void OnAdmitted(SessionId session) = 0;
  virtual void OnPass(SessionId session, const PassReport& report) = 0;
  // All latent frames of the block are decoded. Blocks come in order, without gaps.
  virtual void OnBlock(SessionId session, int block) = 0;
  // Exactly once for each request that Enter accepted, and nothing after it; its place is free by then. OK: all blocks
  // are decoded.
  virtual void OnEnded(SessionId session, const absl::Status& status) = 0;
};

struct Stats {
  int running = 0;       // sessions with a place; each of them counts in one of the next three at most
  int asleep = 0;        // their viewer pauses or reads nothing: they count for nothing in admission
  int parked = 0;        // they wait for their client to read
  int ahead = 0;         // their lead is long enough to rest
  int suspended = 0;     // sessions that gave their place back for a time
  int waiting = 0;       // requests that wait for their first place
  int live_waiting = 0;  // of them
  int passes_in_flight = 0;
  std::vector<double> slacks;   // of the live sessions with a place that play or wait for their first chunk; seconds
  double live_load = 0;         // share of the devices that the live sessions with a place need, mean over devices
  double capacity = 0;          // share of a device that may be promised now, the least of all lanes
  double prediction_error = 0;  // CostModel::error, the worst of all lanes
  double kind_error[Work::kKinds] = {};
  double backlog_seconds = 0;       // predicted device time of all that is accepted and not made
  double live_backlog_seconds = 0;  // of it
  uint64_t batches = 0;
  uint64_t quotes = 0, quotes_kept = 0;  // of live requests that had one: it was kept, or is known to be broken
  // Of the tenants that have requests or were among the last to have one.
  std::map<std::string, double> tenant_device_seconds;
};

}  // namespace longtake::scheduler

#endif  // LONGTAKE_SCHEDULER_LISTENER_H_
