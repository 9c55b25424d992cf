// Private to scheduler/: what scheduler.cc (lives and batches) and admission.cc (who may come, and quotes) share.
#ifndef LONGTAKE_SCHEDULER_IMPL_H_
#define LONGTAKE_SCHEDULER_IMPL_H_

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "scheduler/cost_model.h"
#include "scheduler/forecast.h"
#include "scheduler/scheduler.h"
#include "scheduler/session.h"

namespace longtake::scheduler {

// Every entry changes the sessions under the lock and then pumps: whoever finds nobody pumping carries out all actions
// that lie in the queue, outside the lock, and plans again until nothing is left to do. So the device and the listener
// are called by one thread at a time and in the order of decisions, whatever threads the calls came from.
class Scheduler::Impl : public std::enable_shared_from_this<Scheduler::Impl> {
 public:
  Impl(const Options& options, const Clock* clock, Device* device, Listener* listener);

  absl::Status Add(Request request);
  void Cancel(SessionId id, absl::Status why);
  absl::StatusOr<int> ChangePrompt(SessionId id, int block, int prompt);
  void ChunkDelivered(SessionId id);
  Quote GetQuote(const Request& request) const;
  absl::Duration Poll();
  void StopAdmission(absl::Status why);
  void CancelAll(const absl::Status& why);
  Stats stats() const;
  void Stop();

 private:
  struct Batch {
    absl::Duration started;
    std::vector<Pass> passes;
    Work work;
  };
  struct Tenant {
    double weight = 1;
    double time = 0;  // device seconds over weight; where it was idle, moved up to the others
    double device_seconds = 0;
    int offline = 0;  // requests
  };

  // scheduler.cc
  void Pump() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool Plan() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool EndOne() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool TellPositions() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool SubmitOne() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void CollectAll(absl::Duration now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Collect(Session& session, absl::Duration now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void End(Session& session, absl::Status why) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void OnPassDone(const Batch& batch, size_t index, const PassOutcome& outcome);

  // admission.cc
  bool AdmitOne() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void OnOpened(SessionId id, const absl::Status& status);
  absl::Status Check(const Request& request) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  int OfflinePlaced() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Share of the device that the live sessions with a place need.
  double LiveLoad() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Of the live sessions with a place, and of those that wait; `next` is not among them, but shares their batches.
  Forecast LiveForecast(const Session& next, bool with_waiting) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Seconds for which a pass that is due may find the device taken: by the batch under way, or a later one's longest
  // pass, for nothing interrupts a batch.
  double Blocking() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Of a session that would start now; `alone`: seconds to its first chunk with the device to itself.
  Demand FirstDemand(const Session& session, double alone, const Forecast& forecast) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool LoadPermits(const Session& session) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Quote Promise(const Session& session) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void PromiseLive(const Session& session, Quote& quote) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void PromiseOffline(const Session& session, Quote& quote) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Places that have to become free before the session can have one, after `waiting` others.
  int64_t PlacesMissing(const Session& session, int waiting) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  int TenantOf(const std::string& name) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Options options_;
  const std::shared_ptr<Policy> policy_;
  const Clock* const clock_;
  Device* const device_;
  Listener* const listener_;

  mutable std::mutex mutex_;
  std::condition_variable pumped_;  // nobody pumps any more
  std::map<SessionId, Session> sessions_ ABSL_GUARDED_BY(mutex_);
  std::deque<SessionId>& Queue(bool live) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return live ? live_waiting_ : offline_waiting_;
  }
  std::deque<SessionId> live_waiting_ ABSL_GUARDED_BY(mutex_), offline_waiting_
      ABSL_GUARDED_BY(mutex_);                            // oldest first
  std::vector<Session*> placed_ ABSL_GUARDED_BY(mutex_);  // with a place, or about to have one; in order of admission
  std::deque<SessionId> ending_ ABSL_GUARDED_BY(mutex_);  // end_why set, and no pass under way
  CostModel cost_ ABSL_GUARDED_BY(mutex_);
  std::vector<Tenant> tenants_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, int> tenant_numbers_ ABSL_GUARDED_BY(mutex_);
  // What could run now, and whose it is; kept so that a tick allocates little.
  std::vector<Candidate> candidates_ ABSL_GUARDED_BY(mutex_);
  std::vector<Session*> candidate_sessions_ ABSL_GUARDED_BY(mutex_);
  uint64_t admissions_ ABSL_GUARDED_BY(mutex_) = 0, quotes_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t quotes_kept_ ABSL_GUARDED_BY(mutex_) = 0;
  std::deque<std::function<void()>> actions_ ABSL_GUARDED_BY(mutex_);
  bool pumping_ ABSL_GUARDED_BY(mutex_) = false;
  bool positions_changed_ ABSL_GUARDED_BY(mutex_) = false;
  // The load has been found too high for the oldest live request that waits, and nothing has changed since.
  bool load_holds_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status refuse_why_ ABSL_GUARDED_BY(mutex_);
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  int in_flight_ ABSL_GUARDED_BY(mutex_) = 0;          // passes of the batch under way
  absl::Duration batch_ends_ ABSL_GUARDED_BY(mutex_);  // of the batch under way or the last one, as predicted
  uint64_t batches_ ABSL_GUARDED_BY(mutex_) = 0, turns_ ABSL_GUARDED_BY(mutex_) = 0;
  double batch_seconds_ ABSL_GUARDED_BY(mutex_) = 0;  // moving mean
};

}  // namespace longtake::scheduler

#endif  // LONGTAKE_SCHEDULER_IMPL_H_
