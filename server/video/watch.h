// One viewer of a video.
#ifndef LONGTAKE_SERVER_VIDEO_WATCH_H_
#define LONGTAKE_SERVER_VIDEO_WATCH_H_

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"
#include "server/video/chunk_log.h"
#include "server/video/playback.h"

namespace longtake::server {

class Video;

// Where a watch begins, and what it is sent.
struct WatchOptions {
  int from_block = 0;
  bool live_edge = false;               // at the newest block, whatever from_block
  std::optional<Position> resume = {};  // after what was read before, whatever the two above
  bool follow = true;
  bool with_progress = true;
};

// Reads a video's log for one viewer, and tells the video how far it has come. The viewer is gone when this is
// destroyed. Thread-safe.
class Watch {
 public:
  // No silence is longer than this while a video lives.
  static constexpr absl::Duration kMaxSilence = absl::Seconds(10);

  Watch(std::shared_ptr<Video> video, const WatchOptions& options, ChunkLog::Cursor cursor, int first_block);
  ~Watch();
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

  // The next message; it counts as under way until Written. Nothing to write and no end: wait, and ask again when the
  // listener is told so or a second has passed.
  ChunkLog::Step Next();
  // What has gone out, if it ended a chunk.
  struct Sent {
    std::shared_ptr<const Piece> piece;
    bool stalled = false;  // the viewer had to wait for it
  };
  // The message of the last Next has gone out. Report is to follow, after the next message has been started: it may do
  // some of the scheduler's work.
  Sent Written();
  void Report(const Sent& sent);
  // A message has been under way for `limit`. From then on the viewer counts as one that does not read.
  bool Unread(absl::Duration limit);

  bool follows() const { return cursor_.follow; }
  int first_block() const { return first_block_; }  // that it is sent

  // Of a viewer of a live video that came before the video's end: whether its picture has started, and ever stood
  // still.
  bool playing() const;
  bool has_stalled() const;

 private:
  friend class Video;
  const std::shared_ptr<Video> video_;
  const int first_block_;
  const bool judged_;        // whether its picture counts: the video was live and not at its end
  bool from_start_ = false;  // was there before the first chunk; set before it is used
  mutable std::mutex mutex_;
  ChunkLog::Cursor cursor_;
  ChunkLog::Step under_way_ ABSL_GUARDED_BY(mutex_);
  absl::Duration since_ ABSL_GUARDED_BY(mutex_);  // the last message began, or ended if none is under way
  bool unread_ ABSL_GUARDED_BY(mutex_) = false;
  Playback playback_ ABSL_GUARDED_BY(mutex_);
  absl::Duration ahead_ ABSL_GUARDED_BY(mutex_);  // of video, sent before the picture starts
};

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_VIDEO_WATCH_H_
