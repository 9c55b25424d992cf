// A live video's viewer as the server can see it: the picture starts with the first chunk and runs at 1x.
#ifndef LONGTAKE_SERVER_VIDEO_PLAYBACK_H_
#define LONGTAKE_SERVER_VIDEO_PLAYBACK_H_

#include <optional>

#include "absl/time/time.h"

namespace longtake::server {

class Playback {
 public:
  // A chunk went out. True where the picture had to wait for it.
  bool ChunkDelivered(absl::Duration now, absl::Duration length) {
    const bool late = started() && now > *ends_;
    ends_ = (late || !started() ? now : *ends_) + length;
    stalls_ += late ? 1 : 0;
    return late;
  }
  bool started() const { return ends_.has_value(); }
  int stalls() const { return stalls_; }

 private:
  std::optional<absl::Duration> ends_;  // when what was delivered will have been shown
  int stalls_ = 0;
};

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_VIDEO_PLAYBACK_H_
