// A video as a body that grows while it is made.
#ifndef LONGTAKE_SERVER_HTTP_VIDEO_STREAM_H_
#define LONGTAKE_SERVER_HTTP_VIDEO_STREAM_H_

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/http/http.h"
#include "server/video/studio_slot.h"
#include "server/video/video.h"

namespace longtake::server {

enum class StreamForm {
  kMp4,         // the init segment, then all chunks: one growing file
  kEvents,      // each event as a line of JSON, and behind it as many bytes of media as it says
  kLinkEvents,  // the same for whoever has only a link to the video
};

// Pulls a video's log for one client. Nothing is queued in it: what the client does not read stays in the log.
class VideoStream : public HttpStream, public ChunkLog::Listener, public std::enable_shared_from_this<VideoStream> {
 public:
  // `slot` outlives it. `counted`: is let go with it. InvalidRequest: a block that the video does not have.
  static absl::StatusOr<std::shared_ptr<VideoStream>> Open(StudioSlot* slot, std::shared_ptr<void> counted,
                                                           const std::shared_ptr<Video>& video,
                                                           const WatchOptions& options, StreamForm form,
                                                           absl::Duration max_unread);
  ~VideoStream() override;

  void Start(std::function<void()> more) override;
  Step Next() override;
  void Written() override;
  void Report() override;
  bool Unread() override;
  void OnMore() override;

 private:
  VideoStream(StudioSlot* slot, StreamForm form, absl::Duration max_unread)
      : slot_(slot), form_(form), max_unread_(max_unread) {
    slot_->AddCall();
  }
  // What is written of a message; nothing of those that this form has no place for.
  Part PartOf(const ChunkLog::Step& step) const;

  StudioSlot* const slot_;
  std::shared_ptr<void> counted_;
  const StreamForm form_;
  const absl::Duration max_unread_;
  std::unique_ptr<Watch> watch_;
  Watch::Sent sent_;
  std::optional<absl::Time> told_end_;   // of events: since when the error of a video that has failed is being sent
  std::atomic<bool> more_told_ = false;  // since the last Next
  Mutex mutex_;
  std::function<void()> more_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_HTTP_VIDEO_STREAM_H_
