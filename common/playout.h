// The model of a viewer: when the picture starts, when it stands still, when a part of the video is needed.
#ifndef LONGTAKE_COMMON_PLAYOUT_H_
#define LONGTAKE_COMMON_PLAYOUT_H_

#include <optional>

#include "absl/time/time.h"

namespace longtake {

// A viewer sees the first picture when the first piece of the video arrives. The picture begins to move, at 1x, with
// the piece that completes the first block: a first piece may be a single frame. It stands still where the next piece
// is missing, and everything after that is needed so much later.
//
// Moments (`now`) are on any one clock; positions (`until`, `position`) are times of the video. Not thread-safe.
class Playout {
 public:
  // A piece may be late by this much without counting as a stall. A sixteenth of a frame at 16 frames a second: nobody
  // sees it, and no piece that is really late hides in it.
  static constexpr absl::Duration kTolerance = absl::Milliseconds(4);

  // The video has arrived up to `until`. `starts`: a picture that does not move yet begins to. Returns how long the
  // picture stood still for the piece; zero within the tolerance, and for a piece that had arrived before. What arrives
  // before the picture moves may take as long as it plays, from the first piece on.
  absl::Duration Arrive(absl::Duration now, absl::Duration until, bool starts = true);

  // What the viewer itself says: it is at `position`, playing or paused. Nothing plays that has not arrived, so a
  // position beyond that counts as the end of what has. One who stands still at that end stalls, however often it says
  // so. Ignored before the first piece.
  void Report(absl::Duration now, absl::Duration position, bool paused);

  // The viewer goes though more of the video was to come: a picture that moved and stands still by then is a stall.
  // Returns how long it stood.
  absl::Duration Leave(absl::Duration now);

  bool started() const { return first_.has_value(); }  // the first picture is there
  bool moves() const { return start_.has_value(); }
  bool paused() const { return paused_at_.has_value(); }
  absl::Duration first() const { return first_.value_or(absl::InfiniteDuration()); }  // the first piece's arrival
  absl::Duration arrived() const { return arrived_; }
  // Of the picture; zero before it moves.
  absl::Duration Position(absl::Duration now) const;
  // The moment at which the picture gets to `position` if it does not stand still before; infinite while that is not
  // known: before the picture moves, and while the viewer pauses.
  absl::Duration ReachedAt(absl::Duration position) const;
  // How long the picture has stood still because nothing more has arrived; zero within the tolerance, before it moves
  // and while the viewer pauses.
  absl::Duration StandsStill(absl::Duration now) const;

  int stalls() const { return stalls_; }
  absl::Duration stalled() const { return stalled_; }  // in all

 private:
  void Stall(absl::Duration time);

  std::optional<absl::Duration> first_;
  std::optional<absl::Duration> start_;  // of the picture's moving, later by all stalls and pauses since
  std::optional<absl::Duration> paused_at_;
  bool standing_ = false;  // in a stall that is counted already
  absl::Duration arrived_, stalled_;
  int stalls_ = 0;
};

}  // namespace longtake

#endif  // LONGTAKE_COMMON_PLAYOUT_H_
