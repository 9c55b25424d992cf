// What the scheduler drives: something that holds sessions and runs passes over them. The server puts the engine behind
// it, tests and the simulator a fake.
#ifndef LONGTAKE_SCHEDULER_DEVICE_H_
#define LONGTAKE_SCHEDULER_DEVICE_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "absl/status/status.h"

namespace longtake::scheduler {

using SessionId = uint64_t;  // chosen by who adds the request, never reused

enum class PassKind {
  kEncodePrompt,
  kDenoise,
  kCommit,
  kDecode,  // one latent frame
};

struct Pass {
  PassKind kind = PassKind::kDenoise;
  SessionId session = 0;
  int prompt = 0;  // of kEncodePrompt: which of the session's, as Scheduler::ChangePrompt numbers them
  int level = 0;   // of a block's denoising: index into Request::step_ladder
  friend bool operator==(const Pass&, const Pass&) = default;
};

struct PassOutcome {
  absl::Status status;
  double device_seconds = 0;  // this pass's share of its batch
};

// The scheduler calls these one at a time and never while it holds its own lock, so an implementation may complete a
// pass inside Submit. Prompts and frames pass the scheduler by: the device knows them by the session's id.
class Device {
 public:
  virtual ~Device() = default;

  // Gives the session a place. An error ends the session with it.
  virtual absl::Status Open(SessionId session) = 0;

  // Takes the place back. Called once for each session that Open accepted, when none of its passes is under way.
  virtual void Close(SessionId session) = 0;

  // Runs the passes as one batch and returns at once. `done(i, outcome)` is called exactly once for each, on any thread
  // and in any order.
  virtual void Submit(std::vector<Pass> passes, std::function<void(size_t index, PassOutcome outcome)> done) = 0;
};

}  // namespace longtake::scheduler

#endif  // LONGTAKE_SCHEDULER_DEVICE_H_
