// The viewers of one video.
#ifndef LONGTAKE_SERVER_VIDEO_AUDIENCE_H_
#define LONGTAKE_SERVER_VIDEO_AUDIENCE_H_

#include <cstdint>
#include <optional>
#include <set>
#include <string>

#include "absl/time/time.h"
#include "server/video/request.h"
#include "server/video/watch.h"

namespace longtake::server {

// Not thread-safe.
class Audience {
 public:
  void Add(Watch* watch) { watches_.insert(watch); }
  void Remove(Watch* watch) { watches_.erase(watch); }

  int size() const { return static_cast<int>(watches_.size()); }
  int followers() const;

  // The watch's viewer has all frames before this one.
  void Took(const Watch& watch, int64_t frames);
  // Frames that need not wait for a viewer any more: the foremost follower has them, or has begun behind them.
  int64_t taken(const VideoPlan& plan) const;

  // Whether a follower has begun behind this block, as if it had played it.
  bool BeginsBehind(int block) const;

  // A viewer's own word, to all watches of its id. False: there is none.
  bool ReportPlayback(const std::string& viewer_id, absl::Duration position, bool paused);
  // Where the foremost of the followers that play is; where all of them pause, the foremost of all.
  struct Playback {
    absl::Duration position;
    bool paused = false;
  };
  // Nothing: no viewer has ever reported, so the scheduler's own estimate is as good.
  std::optional<Playback> playback();

  // Where the foremost follower's picture is, by its own word or as estimated; nothing without followers.
  std::optional<absl::Duration> foremost() const;

  // Adds those whose picture has started and counts, by whether it ever stood still.
  void Count(int& undisturbed, int& stalled) const;

 private:
  std::set<Watch*> watches_;
  int64_t taken_ = 0;
  bool reported_ = false;
  absl::Duration position_;  // the last one
};

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_VIDEO_AUDIENCE_H_
