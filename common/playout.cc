#include "common/playout.h"

#include <algorithm>

namespace longtake {

absl::Duration Playout::Arrive(absl::Duration now, absl::Duration until, bool starts) {
  if (until <= arrived_) return absl::ZeroDuration();
  if (!started()) first_ = now;
  absl::Duration late;
  if (moves()) {
    late = StandsStill(now);
    *start_ += late;
    arrived_ = until;
  } else {
    arrived_ = until;
    if (!starts) return absl::ZeroDuration();
    start_ = *first_;
    late = StandsStill(now);
    start_ = now;
  }
  Stall(late);
  standing_ = false;
  return late;
}

void Playout::Report(absl::Duration now, absl::Duration position, bool paused) {
  if (!started()) return;
  position = std::clamp(position, absl::ZeroDuration(), arrived_);
  // One who has something left to play has buffered more than was known, and does not stand still.
  if (position >= arrived_ - kTolerance) Stall(StandsStill(now));
  start_ = now - position;
  paused_at_.reset();
  if (paused) paused_at_ = position;
}

absl::Duration Playout::Leave(absl::Duration now) {
  const absl::Duration late = StandsStill(now);
  Stall(late);
  return late;
}

void Playout::Stall(absl::Duration time) {
  if (time == absl::ZeroDuration()) return;
  stalled_ += time;
  if (!standing_) ++stalls_;
  standing_ = true;
}

absl::Duration Playout::Position(absl::Duration now) const {
  if (!moves()) return absl::ZeroDuration();
  return paused_at_.value_or(std::clamp(now - *start_, absl::ZeroDuration(), arrived_));
}

absl::Duration Playout::ReachedAt(absl::Duration position) const {
  if (!moves() || paused()) return absl::InfiniteDuration();
  return *start_ + position;
}

absl::Duration Playout::StandsStill(absl::Duration now) const {
  if (!moves() || paused()) return absl::ZeroDuration();
  const absl::Duration late = now - (*start_ + arrived_);
  return late <= kTolerance ? absl::ZeroDuration() : late;
}

}  // namespace longtake
