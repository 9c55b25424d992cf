#include "common/playout.h"

#include <algorithm>

namespace longtake {

absl::Duration Playout::Arrive(absl::Duration now, absl::Duration until) {
  if (until <= arrived_) return absl::ZeroDuration();
  absl::Duration late;
  if (!start_.has_value()) {
    start_ = now;
  } else if (!paused()) {
    late = now - (*start_ + arrived_);
    if (late <= kTolerance) {
      late = absl::ZeroDuration();
    } else {
      *start_ += late;
      stalled_ += late;
      ++stalls_;
    }
  }
  arrived_ = until;
  return late;
}

void Playout::Report(absl::Duration now, absl::Duration position, bool paused) {
  if (!start_.has_value()) return;
  position = std::clamp(position, absl::ZeroDuration(), arrived_);
  start_ = now - position;
  paused_at_.reset();
  if (paused) paused_at_ = position;
}

absl::Duration Playout::Position(absl::Duration now) const {
  if (!start_.has_value()) return absl::ZeroDuration();
  return paused_at_.value_or(std::clamp(now - *start_, absl::ZeroDuration(), arrived_));
}

absl::Duration Playout::ReachedAt(absl::Duration position) const {
  if (!start_.has_value() || paused()) return absl::InfiniteDuration();
  return *start_ + position;
}

}  // namespace longtake
