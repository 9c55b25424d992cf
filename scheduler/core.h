// Private to scheduler/: what the scheduler does on its loop. No locks: only the loop's thread gets here.
#ifndef LONGTAKE_SCHEDULER_CORE_H_
#define LONGTAKE_SCHEDULER_CORE_H_

#include <deque>
#include <functional>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "scheduler/admission.h"
#include "scheduler/policy.h"
#include "scheduler/roster.h"
#include "scheduler/scheduler.h"
#include "scheduler/tenants.h"

namespace longtake::scheduler {

// Entries change sessions; the turn that the loop takes after them ends sessions, gives places away and submits batches
// until nothing is left to do. So everything that arrived together is seen together.
class Core {
 public:
  Core(const Options& options, Loop* loop, Device* device, Listener* listener);

  // As Scheduler's entries. entries.cc
  Quote Enter(Request request);
  Quote GetQuote(const Request& request) const;
  void Cancel(SessionId id, absl::Status why);
  absl::StatusOr<Scheduler::PromptPlace> ChangePrompt(SessionId id, int block);
  void Delivered(SessionId id, absl::Duration until);
  void Consumed(SessionId id, absl::Duration position, bool paused);
  void StopAdmission(absl::Status why);
  void CancelAll(const absl::Status& why);
  Stats stats() const;

  // Ends what has ended, and gives what is free to those who wait. Enter does so before it prices a request, and its
  // caller does behind the answer, so that who is told to start at once has its place before anything else happens.
  void Settle();
  // Returns when it wants to be called again.
  absl::Duration Turn();
  // From now on there are no turns. `stopped` is called when no pass is under way.
  void Stop(std::function<void()> stopped);

 private:
  absl::Duration Now() const { return loop_->clock().Now(); }
  Quote Refused(Refusal refusal, absl::Status status, absl::Duration retry_after) const;
  // Why the request is refused whatever the load; none: it is not.
  std::optional<Quote> RefusedOutright(const Request& request) const;

  // Sessions. core.cc
  // Brings up to date what depends on time, after anything has happened to the session and when its timer is due.
  void Touch(Session& session, absl::Duration now);
  void WakeSleepers(absl::Duration now);
  bool EndOne();
  bool AdmitOne(absl::Duration now);
  void Place(Session& session, size_t device);
  void Unplace(Session& session);
  void End(Session& session, absl::Status why);
  void TellPositions();

  // Places of offline sessions that are given to live requests, and back. suspension.cc
  void SuspendForLive(absl::Duration now);
  void Suspend(Session& session);
  void OnSuspended(SessionId id, const absl::Status& status);
  void Resume(Session& session, size_t device);
  void OnResumed(SessionId id, const absl::Status& status);

  // Batches. batches.cc
  void SubmitOne(Lane& lane, absl::Duration now);
  void CollectAll(const Lane& lane, absl::Duration now);
  void Collect(Session& session, const Lane& lane, absl::Duration now);
  void LimitDecoders(const Lane& lane);
  std::optional<size_t> Turn(const Lane& lane) const;
  void Submit(Lane& lane, const std::vector<size_t>& picks, bool turn, Session::Pressure pressure, absl::Duration now);
  void OnPassDone(Lane& lane, Lane::Batch& batch, size_t index, const PassOutcome& outcome, absl::Duration now);

  const Options options_;
  const std::shared_ptr<Policy> policy_;
  Loop* const loop_;
  Device* const device_;
  Listener* const listener_;
  Roster roster_;
  Admission admission_;
  Tenants tenants_;

  std::set<std::pair<absl::Duration, SessionId>> timers_;  // by Session::timer, those that are not infinite
  int waking_ = 0;                                         // sessions that wait for admission to count again
  std::deque<SessionId> ending_;                           // end_why set, and nothing under way
  // What a lane could run now, and whose it is; kept so that a batch allocates little.
  std::vector<Candidate> candidates_;
  std::vector<Session*> candidate_sessions_;
  uint64_t admissions_ = 0, turns_ = 0;
  bool positions_changed_ = false;
  std::optional<Admission::Start> granted_;  // told to start at once, by the Enter before
  absl::Status refuse_why_;
  bool stopping_ = false;
  std::function<void()> stopped_;
  int in_flight_ = 0;  // passes, and sessions that are being suspended or resumed
};

}  // namespace longtake::scheduler

#endif  // LONGTAKE_SCHEDULER_CORE_H_
