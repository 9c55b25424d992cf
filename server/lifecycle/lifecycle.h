// Where a server stands between its start and its end, and what its probes answer. It knows times only; its owner says
// what is going on and carries out what is due. The only header of this room.
#ifndef LONGTAKE_SERVER_LIFECYCLE_LIFECYCLE_H_
#define LONGTAKE_SERVER_LIFECYCLE_LIFECYCLE_H_

#include <optional>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"
#include "common/clock.h"
#include "common/mutex.h"

namespace longtake::server {

// Kubernetes kills a pod 30 s after SIGTERM by default, so everything together takes 25 s.
struct LifecycleOptions {
  // New work is still taken for so long after SIGTERM: a balancer needs some seconds to see that readiness is off, and
  // sends new calls here until then.
  absl::Duration shutdown_grace = absl::Seconds(5);
  // From SIGTERM to the end of everything.
  absl::Duration shutdown_limit = absl::Seconds(25);
  // The last part of it. Videos that are still being made when it begins are ended, and it is left to their viewers to
  // read the chunks that were finished.
  absl::Duration shutdown_reading = absl::Seconds(2);
};

// The phases, and what leads from one to the next:
//
//   kLoading -> kServing     Loaded
//            -> kEnded       Stop: there is nothing to wait for
//   kServing -> kLeaving     Stop. Not ready; new work is still taken
//   kLeaving -> kFinishing   shutdown_grace is over. New work is refused, what runs goes on
//   kFinishing -> kCutting   only shutdown_reading is left of shutdown_limit. What runs is ended
//   kFinishing, kCutting -> kEnded   nothing runs any more, or shutdown_limit is over
//   any -> kEnded            StopNow
//
// Loaded, Stop, StopNow and phase may be called from any thread, Advance from one.
class Lifecycle {
 public:
  enum class Phase { kLoading, kServing, kLeaving, kFinishing, kCutting, kEnded };

  struct Probes {
    bool live = true;      // the process and its device work; if not, restart it
    bool ready = false;    // new work is taken; if not, send it elsewhere
    bool started = false;  // the model has been loaded
    friend bool operator==(const Probes&, const Probes&) = default;
  };

  enum class Refusal { kShuttingDown, kDeviceLost };

  // Called by Advance, without a lock.
  class Actions {
   public:
    virtual ~Actions() = default;
    virtual void Publish(const Probes& probes) = 0;  // they have changed, or are the first
    virtual void RefuseWork(Refusal why) = 0;        // from now on; once
    virtual void EndVideos() = 0;                    // those that are still being made; once
  };

  // What Advance needs to know of this moment.
  struct Observed {
    bool device_stuck = false;  // it may come back
    bool device_lost = false;   // for good
    bool busy = false;          // videos are being made or streams are under way
  };

  // Both pointers outlive it.
  Lifecycle(const LifecycleOptions& options, const Clock* clock, Actions* actions);

  // The model is loaded. False: the server has been told to stop before, and serves nothing.
  bool Loaded();
  // Begins the end, unless it has begun. Without `grace`, new work is refused at once: who presses Ctrl-C has no
  // balancer that must notice first.
  void Stop(bool grace);
  void StopNow();

  // Carries out what is due. Returns the moment, on the clock, at which it is to be called again at the latest.
  absl::Duration Advance(const Observed& observed);

  Phase phase() const;

 private:
  struct End {
    absl::Duration refuse, cut, stop;  // moments
  };
  struct Due {
    std::optional<Probes> publish;
    std::optional<Refusal> refuse;
    bool end_videos = false;
  };
  // Makes at most one step that depends on what was observed: what was observed before it may be wrong after it.
  Due Step(const Observed& observed) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Duration NextStep() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const LifecycleOptions options_;
  const Clock* const clock_;
  Actions* const actions_;
  mutable Mutex mutex_;
  Phase phase_ ABSL_GUARDED_BY(mutex_) = Phase::kLoading;
  bool loaded_ ABSL_GUARDED_BY(mutex_) = false;
  std::optional<End> end_ ABSL_GUARDED_BY(mutex_);  // since Stop
  bool refused_ ABSL_GUARDED_BY(mutex_) = false;
  std::optional<Probes> published_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_LIFECYCLE_LIFECYCLE_H_
