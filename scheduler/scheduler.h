// Decides which pass of which session runs next, on which device. README.md beside this file is normative.
#ifndef LONGTAKE_SCHEDULER_SCHEDULER_H_
#define LONGTAKE_SCHEDULER_SCHEDULER_H_

#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "scheduler/device.h"
#include "scheduler/listener.h"
#include "scheduler/loop.h"
#include "scheduler/options.h"
#include "scheduler/request.h"

namespace longtake::scheduler {

class Core;

// Any thread may call any entry. An entry posts to the loop and returns; the loop decides, and calls the device and the
// listener. Entries of one thread take effect in the order in which they were called.
//
// Entries with an answer come in two forms. With `done`, the answer is given on the loop, before any call of the
// listener or the device that follows from it; `done` has the restrictions of a Listener. Without, the entry waits for
// the loop: for tests and for threads that may block, never for a thread that answers clients or for the loop itself.
class Scheduler {
 public:
  struct PromptPlace {
    int block = 0;   // from which the prompt holds
    int prompt = 0;  // its number: what Pass::prompt says of it
  };

  // `loop`, `device` and `listener` outlive it. It is the loop's only user.
  Scheduler(const Options& options, Loop* loop, Device* device, Listener* listener);
  // Waits for the passes under way and starts no others; calls no listener any more. On a loop that is driven by hand
  // no pass may be under way.
  ~Scheduler();
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  // Prices the request and, if the answer is ok, takes it in. Of a refused request nothing is kept. A struct rather
  // than a StatusOr: a refusal, too, has times and a reason.
  void Enter(Request request, std::function<void(const Quote& quote)> done);
  Quote Enter(Request request);

  // What Enter would answer now. Keeps nothing.
  void GetQuote(Request request, std::function<void(const Quote& quote)> done);
  Quote GetQuote(Request request);

  // Ends the session with `why`: at once, or when its passes under way are done. Unknown and ended ids are ignored.
  void Cancel(SessionId session, absl::Status why);

  // From block `block` on, or from the first later one of which nothing has begun, the session has another prompt. Its
  // encoding is a pass before that block. A later change for the same block takes its place. NotFound: no such session,
  // or it is ending. FailedPrecondition: no such block is left. ResourceExhausted: it has had too many prompts. After
  // an error no number is taken. The device must know the prompt when `done` returns.
  void ChangePrompt(SessionId session, int block, std::function<void(absl::StatusOr<PromptPlace>)> done);
  absl::StatusOr<PromptPlace> ChangePrompt(SessionId session, int block);

  // The session's video up to `until` has gone out to its viewer, or is stored. A live viewer plays from the first of
  // these on, as far as nothing else is known.
  void Delivered(SessionId session, absl::Duration until);
  // The viewer's own word: it has played up to `position`, and pauses or not.
  void Consumed(SessionId session, absl::Duration position, bool paused);

  // Refuses every later Enter, and ends the requests that wait, with `why`. Sessions that have begun go on.
  void StopAdmission(absl::Status why);

  // Cancel for every session there is.
  void CancelAll(absl::Status why);

  void GetStats(std::function<void(const Stats& stats)> done) const;
  Stats stats() const;

 private:
  Loop* const loop_;
  const std::unique_ptr<Core> core_;  // on the loop only
};

}  // namespace longtake::scheduler

#endif  // LONGTAKE_SCHEDULER_SCHEDULER_H_
