#include "server/lifecycle/lifecycle.h"

#include <algorithm>
#include <utility>

namespace longtake::server {

Lifecycle::Lifecycle(const LifecycleOptions& options, const Clock* clock, Actions* actions)
    : options_(options), clock_(clock), actions_(actions) {}

bool Lifecycle::Loaded() {
  const MutexLock lock(mutex_);
  if (end_.has_value()) return false;
  loaded_ = true;
  return true;
}

void Lifecycle::Stop(bool grace) {
  const MutexLock lock(mutex_);
  if (end_.has_value()) return;
  const absl::Duration now = clock_->Now();
  const absl::Duration limit = std::max(options_.shutdown_limit, absl::ZeroDuration());
  const absl::Duration cut = now + std::max(limit - options_.shutdown_reading, absl::ZeroDuration());
  end_ = {.refuse = std::min(grace ? now + options_.shutdown_grace : now, cut), .cut = cut, .stop = now + limit};
}

void Lifecycle::StopNow() {
  const MutexLock lock(mutex_);
  const absl::Duration now = clock_->Now();
  end_ = {now, now, now};
  phase_ = Phase::kEnded;
}

Lifecycle::Phase Lifecycle::phase() const {
  const MutexLock lock(mutex_);
  return phase_;
}

absl::Duration Lifecycle::Advance(const Observed& observed) {
  Due due;
  absl::Duration next;
  {
    const MutexLock lock(mutex_);
    due = Step(observed);
    next = NextStep();
  }
  if (due.publish.has_value()) actions_->Publish(*due.publish);
  if (due.refuse.has_value()) actions_->RefuseWork(*due.refuse);
  if (due.end_videos) actions_->EndVideos();
  return next;
}

Lifecycle::Due Lifecycle::Step(const Observed& observed) {
  const absl::Duration now = clock_->Now();
  Due due;
  if (phase_ == Phase::kLoading && loaded_) phase_ = Phase::kServing;
  if (phase_ == Phase::kLoading && end_.has_value()) phase_ = Phase::kEnded;
  if (phase_ == Phase::kServing && end_.has_value()) phase_ = Phase::kLeaving;
  switch (phase_) {
    case Phase::kLeaving:
      if (now < end_->refuse) break;
      phase_ = Phase::kFinishing;
      if (!std::exchange(refused_, true)) due.refuse = Refusal::kShuttingDown;
      break;
    case Phase::kFinishing:
      if (!observed.busy) {
        phase_ = Phase::kEnded;
      } else if (now >= end_->cut) {
        phase_ = Phase::kCutting;
        due.end_videos = true;
      }
      break;
    case Phase::kCutting:
      if (!observed.busy || now >= end_->stop) phase_ = Phase::kEnded;
      break;
    case Phase::kLoading:
    case Phase::kServing:
    case Phase::kEnded:
      break;
  }
  if (observed.device_lost && !std::exchange(refused_, true)) due.refuse = Refusal::kDeviceLost;
  const bool works = !observed.device_stuck && !observed.device_lost;
  const Probes probes{.live = works && phase_ != Phase::kEnded,
                      .ready = works && phase_ == Phase::kServing,
                      .started = loaded_ && phase_ != Phase::kEnded};
  if (published_ != probes) due.publish = published_ = probes;
  return due;
}

absl::Duration Lifecycle::NextStep() const {
  switch (phase_) {
    case Phase::kLeaving:
      return end_->refuse;
    case Phase::kFinishing:
      return end_->cut;
    case Phase::kCutting:
      return end_->stop;
    case Phase::kLoading:
    case Phase::kServing:
    case Phase::kEnded:
      break;
  }
  return absl::InfiniteDuration();
}

}  // namespace longtake::server
