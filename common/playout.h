// The model of a viewer: when the picture starts, when it stands still, when a part of the video is needed.
#ifndef LONGTAKE_COMMON_PLAYOUT_H_
#define LONGTAKE_COMMON_PLAYOUT_H_

#include <optional>

#include "absl/time/time.h"

namespace longtake {

// A viewer plays from the moment at which the first piece of the video arrives, at 1x. Where the next piece is missing
// the picture stands still until it arrives, and everything after it is needed so much later.
//
// Moments (`now`) are on any one clock; positions (`until`, `position`) are times of the video. Not thread-safe.
class Playout {
 public:
  // A piece may be late by this much without counting as a stall. A sixteenth of a frame at 16 frames a second: nobody
  // sees it, and no piece that is really late hides in it.
  static constexpr absl::Duration kTolerance = absl::Milliseconds(4);

  // The video has arrived up to `until`. Returns how long the picture stood still for it; zero within the tolerance,
  // and for a piece that had arrived before.
  absl::Duration Arrive(absl::Duration now, absl::Duration until);

  // What the viewer itself says: it is at `position`, playing or paused. Nothing plays that has not arrived, so a
  // position beyond that counts as the end of what has. Ignored before the first piece.
  void Report(absl::Duration now, absl::Duration position, bool paused);

  bool started() const { return start_.has_value(); }
  bool paused() const { return paused_at_.has_value(); }
  absl::Duration arrived() const { return arrived_; }
  // Of the picture; zero before the start.
  absl::Duration Position(absl::Duration now) const;
  // The moment at which the picture gets to `position` if it does not stand still before; infinite while that is not
  // known: before the start, and while the viewer pauses.
  absl::Duration ReachedAt(absl::Duration position) const;

  int stalls() const { return stalls_; }
  absl::Duration stalled() const { return stalled_; }  // in all

 private:
  std::optional<absl::Duration> start_;  // the first piece's arrival, later by all stalls and pauses since
  std::optional<absl::Duration> paused_at_;
  absl::Duration arrived_, stalled_;
  int stalls_ = 0;
};

}  // namespace longtake

#endif  // LONGTAKE_COMMON_PLAYOUT_H_
