// Waits for something of a video that is not made yet.
#ifndef LONGTAKE_SERVER_HTTP_VIDEO_WAIT_H_
#define LONGTAKE_SERVER_HTTP_VIDEO_WAIT_H_

#include <atomic>
#include <functional>
#include <memory>
#include <optional>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"
#include "common/mutex.h"
#include "server/http/http.h"
#include "server/video/studio_slot.h"
#include "server/video/video.h"

namespace longtake::server {

class VideoWait : public HttpWait, public ChunkLog::Listener {
 public:
  // The answer if it is there; it has been waited for so long. Called on one thread at a time.
  using Find = std::function<std::optional<HttpAnswer>(absl::Duration waited)>;

  // `slot` outlives it. After `limit` the answer is 503.
  static std::shared_ptr<VideoWait> Open(StudioSlot* slot, std::shared_ptr<Video> video, absl::Duration limit,
                                         Find find);
  ~VideoWait() override;

  void Start(std::function<void()> more) override;
  std::optional<HttpAnswer> Look() override;
  void OnMore() override;

 private:
  VideoWait(StudioSlot* slot, std::shared_ptr<Video> video, absl::Duration limit, Find find);

  StudioSlot* const slot_;
  const std::shared_ptr<Video> video_;
  const absl::Duration limit_;
  const Find find_;
  const absl::Duration began_;           // of the video's time
  std::atomic<bool> more_told_ = false;  // since the last Look
  Mutex mutex_;
  std::function<void()> more_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_HTTP_VIDEO_WAIT_H_
