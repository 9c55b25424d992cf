#include "server/http/video_wait.h"

#include <utility>

namespace longtake::server {

VideoWait::VideoWait(StudioSlot* slot, std::shared_ptr<Video> video, absl::Duration limit, Find find)
    : slot_(slot), video_(std::move(video)), limit_(limit), find_(std::move(find)), began_(video_->elapsed()) {
  slot_->AddCall();
}

VideoWait::~VideoWait() { slot_->RemoveCall(); }

std::shared_ptr<VideoWait> VideoWait::Open(StudioSlot* slot, std::shared_ptr<Video> video, absl::Duration limit,
                                           Find find) {
  std::shared_ptr<VideoWait> wait(new VideoWait(slot, std::move(video), limit, std::move(find)));
  wait->video_->log().Attach(wait);
  return wait;
}

void VideoWait::Start(std::function<void()> more) {
  const MutexLock lock(mutex_);
  more_ = std::move(more);
}

std::optional<HttpAnswer> VideoWait::Look() {
  more_told_ = false;
  const absl::Duration waited = video_->elapsed() - began_;
  std::optional<HttpAnswer> found = find_(waited);
  if (found.has_value() || waited <= limit_) return found;
  return HttpAnswer{
      .status = 503, .body = "it is not made yet\n", .headers = {{"Cache-Control", "no-store"}, {"Retry-After", "1"}}};
}

void VideoWait::OnMore() {
  // Each pass tells all who listen; who has not looked yet need not be told again.
  if (more_told_.exchange(true)) return;
  std::function<void()> more;
  {
    const MutexLock lock(mutex_);
    more = more_;
  }
  if (more) more();
}

}  // namespace longtake::server
