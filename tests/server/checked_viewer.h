// A viewer without a wire: reads a video's log, checks that its events come in a legal order without gaps, and reads as
// slowly as it is told.
#ifndef LONGTAKE_TESTS_SERVER_CHECKED_VIEWER_H_
#define LONGTAKE_TESTS_SERVER_CHECKED_VIEWER_H_

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/mutex.h"
#include "server/video/studio.h"

namespace longtake::server {

// One message a piece, without a wire format.
inline ChunkLog::Serializer PlainSerializer(const std::string&) {
  return [](const Event&, size_t media_size, uint64_t) -> std::vector<Message> {
    return {{.head = {}, .media_begin = 0, .media_size = media_size}};
  };
}

class CheckedViewer : public ChunkLog::Listener, public std::enable_shared_from_this<CheckedViewer> {
 public:
  enum class Reads { kAtOnce, kLate, kNever };
  explicit CheckedViewer(Reads reads = Reads::kAtOnce) : reads_(reads) {}
  ~CheckedViewer() override { Leave(); }

  absl::Status Open(const std::shared_ptr<Video>& video, const WatchOptions& options = {}) {
    absl::StatusOr<std::unique_ptr<Watch>> watch = video->OpenWatch(options, shared_from_this());
    if (!watch.ok()) return watch.status();
    {
      const MutexLock lock(mutex_);
      watch_ = std::shared_ptr<Watch>(watch->release(), [closed = closed_](Watch* gone) {
        delete gone;
        *closed = true;
      });
      from_block_ = watch_->first_block();
      block_ = from_block_;
      accepted_ = options.resume.has_value();
    }
    OnMore();
    return absl::OkStatus();
  }

  // The call's end, whoever ends it. A read that is under way on another thread goes to its end first.
  void Leave() {
    std::shared_ptr<Watch> watch;
    {
      const MutexLock lock(mutex_);
      watch = std::move(watch_);
    }
  }

  // The video knows that the viewer has gone.
  bool closed() const { return *closed_; }

  // As a call does: one message at a time, each reported when it has gone out.
  void OnMore() override {
    while (true) {
      std::shared_ptr<Watch> watch;
      ChunkLog::Step step;
      {
        const MutexLock lock(mutex_);
        if (watch_ == nullptr) return;
        watch = watch_;
        if (busy_) {
          if (reads_ != Reads::kNever || !watch->Unread(give_up_after)) return;
          watch_ = nullptr;  // the call is cancelled; `watch` goes outside the lock
          return;
        }
        step = watch->Next();
        if (step.end.has_value()) {
          status_ = *step.end;
          if (++ends_ > 1) Wrong("ended twice");
          if (status_.ok() != finished_ && watch->follows()) Wrong("OK without finished, or the reverse");
          watch_ = nullptr;
          return;
        }
        if (step.piece == nullptr) return;
        busy_ = true;
        Check(*step.piece);
        if (reads_ == Reads::kNever && std::holds_alternative<Chunk>(step.piece->event.body)) return;
      }
      if (reads_ == Reads::kLate && std::holds_alternative<Chunk>(step.piece->event.body)) {
        absl::SleepFor(absl::Milliseconds(3));
      }
      Watch::Sent sent;
      {
        const MutexLock lock(mutex_);
        busy_ = false;
        sent = watch->Written();
      }
      watch->Report(sent);
    }
  }

  int ends() const {
    const MutexLock lock(mutex_);
    return ends_;
  }
  absl::Status status() const {
    const MutexLock lock(mutex_);
    return status_;
  }
  std::string wrong() const {
    const MutexLock lock(mutex_);
    return wrong_;
  }
  // Of the chunks.
  std::string bytes() const {
    const MutexLock lock(mutex_);
    return bytes_;
  }
  int blocks() const {  // whole ones
    const MutexLock lock(mutex_);
    return block_ - from_block_;
  }
  int repeats() const {  // of Waiting and Progress
    const MutexLock lock(mutex_);
    return passing_;
  }

  absl::Duration give_up_after = absl::InfiniteDuration();  // of kNever; before Open

 private:
  void Wrong(const char* what) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { absl::StrAppend(&wrong_, what, "; "); }

  void Check(const Piece& piece) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (ends_ > 0) Wrong("an event after the end");
    if (finished_) Wrong("an event after finished");
    const auto& body = piece.event.body;
    if (const auto* accepted = std::get_if<Accepted>(&body); accepted != nullptr) {
      if (accepted_) Wrong("accepted twice");
      accepted_ = true;
      plan_ = accepted->video.plan;
    } else if (!accepted_) {
      Wrong("accepted is not the first event");
    } else if (std::holds_alternative<Waiting>(body)) {
      if (chunks_ > 0) Wrong("waiting after a place was given");
      ++passing_;
    } else if (std::holds_alternative<Progress>(body)) {
      ++passing_;
    } else if (const auto* chunk = std::get_if<Chunk>(&body); chunk != nullptr) {
      if (chunk->block != block_ || chunk->index != index_) Wrong("a gap between chunks");
      if (frame_ >= 0 && chunk->first_frame != frame_) Wrong("a gap between frames");
      if (plan_ != nullptr &&
          chunk->last_in_block() != (chunk->first_frame + chunk->frames == plan_->block_starts[chunk->block + 1])) {
        Wrong("a block of other frames than it should have");
      }
      frame_ = chunk->first_frame + chunk->frames;
      block_ = chunk->block + (chunk->last_in_block() ? 1 : 0);
      index_ = chunk->last_in_block() ? 0 : chunk->index + 1;
      ++chunks_;
      bytes_ += piece.media;
    } else if (const auto* finished = std::get_if<Finished>(&body); finished != nullptr) {
      finished_ = true;
      if (from_block_ == 0 && plan_ != nullptr && finished->chunks != chunks_) Wrong("finished counts wrong");
      if (plan_ != nullptr && frame_ != plan_->frames()) Wrong("finished before all frames");
    }
  }

  const Reads reads_;
  mutable Mutex mutex_;
  const std::shared_ptr<std::atomic<bool>> closed_ = std::make_shared<std::atomic<bool>>(false);
  std::shared_ptr<Watch> watch_ ABSL_GUARDED_BY(mutex_);
  std::shared_ptr<const VideoPlan> plan_ ABSL_GUARDED_BY(mutex_);
  bool busy_ ABSL_GUARDED_BY(mutex_) = false, accepted_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  int from_block_ ABSL_GUARDED_BY(mutex_) = 0, block_ ABSL_GUARDED_BY(mutex_) = 0;
  int index_ ABSL_GUARDED_BY(mutex_) = 0, ends_ ABSL_GUARDED_BY(mutex_) = 0, passing_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t frame_ ABSL_GUARDED_BY(mutex_) = -1, chunks_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
  std::string bytes_ ABSL_GUARDED_BY(mutex_), wrong_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace longtake::server

#endif  // LONGTAKE_TESTS_SERVER_CHECKED_VIEWER_H_
