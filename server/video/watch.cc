#include "server/video/watch.h"

#include <utility>

#include "server/video/video.h"

namespace longtake::server {

Watch::Watch(std::shared_ptr<Video> video, const WatchOptions& options, ChunkLog::Cursor cursor, int first_block)
    : video_(std::move(video)),
      first_block_(first_block),
      judged_(options.follow && video_->live() && !video_->log().closed()),
      cursor_(cursor),
      since_(video_->clock_->Now()) {}

Watch::~Watch() {
  if (judged_ && playing()) video_->host_->OnViewerLeft(has_stalled());
  bool unread = false;
  {
    const std::lock_guard lock(mutex_);
    unread = unread_;
  }
  video_->Detach(*this, unread);
}

ChunkLog::Step Watch::Next() {
  const std::lock_guard lock(mutex_);
  if (under_way_.piece != nullptr) return {};
  ChunkLog::Step step = video_->log().Next(cursor_);
  const absl::Duration now = video_->clock_->Now();
  if (step.piece == nullptr && !step.end.has_value() && now - since_ >= kMaxSilence) {
    step.piece = video_->log().Repeat(cursor_, video_->elapsed());
  }
  if (step.piece != nullptr) {
    under_way_ = step;
    since_ = now;
  }
  return step;
}

Watch::Sent Watch::Written() {
  const std::lock_guard lock(mutex_);
  const ChunkLog::Step step = std::exchange(under_way_, {});
  since_ = video_->clock_->Now();
  if (step.piece == nullptr || !step.last_message()) return {};
  const auto* chunk = std::get_if<Chunk>(&step.piece->event.body);
  if (chunk == nullptr) return {};
  Sent sent{.piece = step.piece};
  if (judged_) {
    // The picture is there with the first chunk; it begins to move when that chunk's block is, for the chunk may be one
    // frame.
    ahead_ += chunk->duration;
    if (playback_.started() || chunk->last_in_block()) {
      sent.stalled = playback_.ChunkDelivered(since_, std::exchange(ahead_, {}));
    }
  }
  return sent;
}

void Watch::Report(const Sent& sent) {
  if (sent.piece == nullptr) return;
  video_->OnChunkSent(*this, std::get<Chunk>(sent.piece->event.body), static_cast<int64_t>(sent.piece->media.size()),
                      sent.stalled);
}

bool Watch::Unread(absl::Duration limit) {
  const std::lock_guard lock(mutex_);
  if (under_way_.piece != nullptr && video_->clock_->Now() - since_ >= limit) unread_ = true;
  return unread_;
}

bool Watch::playing() const {
  const std::lock_guard lock(mutex_);
  return playback_.started();
}

bool Watch::has_stalled() const {
  const std::lock_guard lock(mutex_);
  return playback_.stalls() > 0;
}

}  // namespace longtake::server
