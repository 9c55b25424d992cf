// What a video asks of its surroundings, and what it tells them.
#ifndef LONGTAKE_SERVER_VIDEO_VIDEO_HOST_H_
#define LONGTAKE_SERVER_VIDEO_VIDEO_HOST_H_

#include <cstdint>
#include <optional>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/telemetry/metrics.h"
#include "server/video/event.h"

namespace longtake::server {

class Video;

// A chunk has gone out to a viewer.
struct SentChunk {
  int64_t bytes = 0;
  absl::Duration duration;  // of video
  int stalls = 0;           // of its viewer, since the chunk before
  // Of the first chunk that the first viewer got, since the video's acceptance.
  std::optional<absl::Duration> first;
};

// Any thread, without a lock of the video's.
class VideoHost {
 public:
  virtual ~VideoHost() = default;
  // End the session. Unknown and ended ones are ignored.
  virtual void Cancel(uint64_t id, const absl::Status& why) = 0;
  // The video up to this time of it has gone out to a viewer, or need not wait for one.
  virtual void Delivered(uint64_t id, absl::Duration until) = 0;
  // The foremost viewer is at this time of the video; `paused`: no viewer plays.
  virtual void Consumed(uint64_t id, absl::Duration position, bool paused) = 0;
  // The first chunk has, so long after the video's acceptance.
  virtual void OnFirstChunk(const Video& video, absl::Duration elapsed) = 0;
  virtual void OnBlockMade(const Video& video, const BlockReport& report) = 0;
  virtual void OnChunkSent(const SentChunk& chunk) = 0;
  // One who counts; without an outcome, one who had not been promised a chunk by then and had none. `stalls`: since its
  // last chunk.
  virtual void OnViewerLeft(std::optional<ViewerOutcome> outcome, int stalls) = 0;
  // Its log has grown by this, or shrunk.
  virtual void OnGrown(int64_t bytes) = 0;
  // Something of it could not be stored, or not be removed. The first time only.
  virtual void OnStoreFailed(const Video& video, const absl::Status& why) = 0;
  // Its log is closed.
  virtual void OnClosed(Video& video) = 0;
  // It is nobody's any more: it was deleted, or has expired.
  virtual void OnForgotten(Video& video) = 0;
};

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_VIDEO_VIDEO_HOST_H_
