// One viewer of a video.
#ifndef LONGTAKE_SERVER_VIDEO_WATCH_H_
#define LONGTAKE_SERVER_VIDEO_WATCH_H_

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"
#include "common/mutex.h"
#include "common/playout.h"
#include "server/video/chunk_log.h"
#include "server/video/video_host.h"

namespace longtake::server {

// Where a watch begins, and what it is sent.
struct WatchOptions {
  int from_block = 0;
  bool live_edge = false;               // at the newest block, whatever from_block
  std::optional<Position> resume = {};  // after what was read before, whatever the two above
  bool follow = true;
  bool with_progress = true;
  std::string viewer_id = {};  // by which it reports its playback
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
    int stalls = 0;     // of the viewer, not told before
    int64_t grown = 0;  // bytes of blocks that were read from the store for it
  };
  // The message of the last Next has gone out. Report is to follow, after the next message has been started: it may do
  // some of the scheduler's work.
  Sent Written();
  void Report(const Sent& sent);
  // A message has been under way for `limit`. From then on the viewer counts as one that does not read.
  bool Unread(absl::Duration limit);

  bool follows() const { return cursor_.follow; }
  int first_block() const { return first_block_; }  // that it is sent
  const std::string& viewer_id() const { return viewer_id_; }

  // Its picture, in times of the video: as it says itself, else as estimated from what has gone out.
  struct Picture {
    bool judged = false;   // the viewer counts: it came to a live video before its end, to follow it
    bool started = false;  // its first chunk has gone out
    bool stalled = false;  // it stands still for want of a chunk, or has
    bool paused = false;
    absl::Duration position;
  };
  Picture picture() const;
  // The viewer's own word.
  void ReportPlayback(absl::Duration position, bool paused);

 private:
  friend class Video;
  // What the viewer saw by the time it goes; nothing where that cannot be judged yet. `promised`: when its first chunk
  // was to be there; `failed`: its video has.
  std::optional<ViewerOutcome> Outcome(absl::Duration promised, bool failed) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  int NewStalls() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::shared_ptr<Video> video_;
  const int first_block_;
  const bool judged_;
  const std::string viewer_id_;
  bool from_start_ = false;  // was there before the first chunk; set before it is used
  mutable Mutex mutex_;
  ChunkLog::Cursor cursor_;
  ChunkLog::Step under_way_ ABSL_GUARDED_BY(mutex_);
  absl::Duration since_ ABSL_GUARDED_BY(mutex_);  // the last message began, or ended if none is under way
  bool unread_ ABSL_GUARDED_BY(mutex_) = false;
  Playout playout_ ABSL_GUARDED_BY(mutex_);        // its positions begin with the first chunk that the viewer got
  absl::Duration begins_ ABSL_GUARDED_BY(mutex_);  // that chunk's time of the video
  bool has_all_ ABSL_GUARDED_BY(mutex_) = false;   // up to the video's end
  int told_stalls_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t grown_ ABSL_GUARDED_BY(mutex_) = 0;  // by the log, for this viewer, not told yet
};

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_VIDEO_WATCH_H_
