// What traces say of videos.
#ifndef LONGTAKE_SERVER_VIDEO_VIDEO_SPANS_H_
#define LONGTAKE_SERVER_VIDEO_VIDEO_SPANS_H_

#include <string>

#include "absl/time/time.h"
#include "server/telemetry/span.h"
#include "server/video/event.h"
#include "server/video/video.h"

namespace longtake::server {

// Spans of videos whose call is recorded:
//
//   video                      from its acceptance to its end; its parent is the call's span
//     queue                    until it gets its place
//     block                    from its first denoising pass to its last chunk
//       encode_prompt, denoise, commit, decode
//                              device time: as long as the block's passes of the kind took together, and ended when the
//                              last of them did
//       encode                 as long as encoding took, and ended when the last chunk was there
//       store                  of a stored video, until the block is stored
//
// Of a video that goes on after a restart the call is another process's, and nothing is said. Thread-safe.
class VideoSpans {
 public:
  // `sink` outlives it; null: nothing happens. `stores`: videos are stored.
  VideoSpans(SpanSink* sink, bool stores) : sink_(sink), stores_(stores) {}

  void OnAdmitted(const Video& video) const;
  void OnBlockMade(const Video& video, const BlockReport& report) const;
  void OnClosed(const Video& video, const VideoInfo& info) const;

 private:
  bool Records(const Video& video) const;
  // The moment so long after the video's acceptance.
  static absl::Time TimeOf(const Video& video, absl::Duration elapsed);

  SpanSink* const sink_;
  const bool stores_;
};

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_VIDEO_VIDEO_SPANS_H_
