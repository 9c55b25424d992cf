#include "server/video/watch.h"

#include <utility>

#include "server/video/video.h"

namespace longtake::server {
namespace {

// The picture does not move, though its first block could have been played since the first chunk came.
bool Frozen(const Playout& playout, absl::Duration now, const VideoPlan& plan, int first_block) {
  if (!playout.started() || playout.moves()) return false;
  return now - playout.first() > plan.BlockStart(first_block + 1) - plan.BlockStart(first_block);
}

}  // namespace

Watch::Watch(std::shared_ptr<Video> video, const WatchOptions& options, ChunkLog::Cursor cursor, int first_block)
    : video_(std::move(video)),
      first_block_(first_block),
      judged_(options.follow && video_->live() && !video_->log().closed()),
      viewer_id_(options.viewer_id),
      cursor_(cursor),
      since_(video_->clock_->Now()) {}

Watch::~Watch() {
  bool unread = false;
  int stalls = 0;
  int64_t grown = 0;
  std::optional<ViewerOutcome> outcome;
  // Before the lock: the video looks at its viewers' pictures under its own.
  const absl::Duration promised = from_start_ ? video_->accepted_ + video_->promised() : absl::InfiniteDuration();
  const bool failed = video_->state() == State::kFailed;
  {
    const MutexLock lock(mutex_);
    unread = unread_;
    if (judged_) outcome = Outcome(promised, failed);
    stalls = NewStalls();
    grown = grown_;
  }
  if (grown > 0) video_->host_->OnGrown(grown);
  if (judged_) video_->host_->OnViewerLeft(outcome, stalls);
  video_->Detach(*this, unread);
}

std::optional<ViewerOutcome> Watch::Outcome(absl::Duration promised, bool failed) {
  const absl::Duration now = video_->clock_->Now();
  if (!has_all_) playout_.Leave(now);
  if (playout_.stalls() > 0 || Frozen(playout_, now, video_->plan(), first_block_)) return ViewerOutcome::kStalled;
  if ((playout_.started() ? playout_.first() : now) > promised) return ViewerOutcome::kLate;
  if (!playout_.started()) return std::nullopt;
  return failed && !has_all_ ? ViewerOutcome::kCut : ViewerOutcome::kSmooth;
}

int Watch::NewStalls() { return playout_.stalls() - std::exchange(told_stalls_, playout_.stalls()); }

ChunkLog::Step Watch::Next() {
  const MutexLock lock(mutex_);
  if (under_way_.piece != nullptr) return {};
  ChunkLog::Step step = video_->log().Next(cursor_);
  grown_ += step.grown;
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
  const MutexLock lock(mutex_);
  const ChunkLog::Step step = std::exchange(under_way_, {});
  since_ = video_->clock_->Now();
  const int64_t grown = std::exchange(grown_, 0);
  if (step.piece == nullptr || !step.last_message()) return {.grown = grown};
  const auto* chunk = std::get_if<Chunk>(&step.piece->event.body);
  if (chunk == nullptr) return {.grown = grown};
  if (!playout_.started()) begins_ = chunk->pts;
  playout_.Arrive(since_, chunk->pts + chunk->duration - begins_, chunk->last_in_block());
  has_all_ = chunk->first_frame + chunk->frames == video_->plan().frames();
  return {.piece = step.piece, .stalls = judged_ ? NewStalls() : 0, .grown = grown};
}

void Watch::Report(const Sent& sent) {
  if (sent.grown > 0) video_->host_->OnGrown(sent.grown);
  if (sent.piece == nullptr) return;
  video_->OnChunkSent(*this, std::get<Chunk>(sent.piece->event.body), static_cast<int64_t>(sent.piece->media.size()),
                      sent.stalls);
}

bool Watch::Unread(absl::Duration limit) {
  const MutexLock lock(mutex_);
  if (under_way_.piece != nullptr && video_->clock_->Now() - since_ >= limit) unread_ = true;
  return unread_;
}

Watch::Picture Watch::picture() const {
  const MutexLock lock(mutex_);
  const absl::Duration now = video_->clock_->Now();
  return {.judged = judged_,
          .started = playout_.started(),
          .stalled = playout_.stalls() > 0 || Frozen(playout_, now, video_->plan(), first_block_) ||
                     (!has_all_ && playout_.StandsStill(now) > absl::ZeroDuration()),
          .paused = playout_.paused(),
          .position = begins_ + playout_.Position(now)};
}

void Watch::ReportPlayback(absl::Duration position, bool paused) {
  const MutexLock lock(mutex_);
  playout_.Report(video_->clock_->Now(), position - begins_, paused);
}

}  // namespace longtake::server
