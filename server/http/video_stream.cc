#include "server/http/video_stream.h"

#include <utility>

#include "absl/time/clock.h"
#include "server/http/video_json.h"

namespace longtake::server {

absl::StatusOr<std::shared_ptr<VideoStream>> VideoStream::Open(StudioSlot* slot, std::shared_ptr<void> counted,
                                                               const std::shared_ptr<Video>& video,
                                                               const WatchOptions& options, StreamForm form,
                                                               absl::Duration max_unread) {
  std::shared_ptr<VideoStream> stream(new VideoStream(slot, form, max_unread));
  stream->counted_ = std::move(counted);
  absl::StatusOr<std::unique_ptr<Watch>> watch = video->OpenWatch(options, stream);
  if (!watch.ok()) return watch.status();
  stream->watch_ = *std::move(watch);
  return stream;
}

VideoStream::~VideoStream() {
  watch_.reset();
  slot_->RemoveCall();
}

void VideoStream::Start(std::function<void()> more) {
  const MutexLock lock(mutex_);
  more_ = std::move(more);
}

bool VideoStream::Unread() {
  if (told_end_.has_value()) return absl::Now() - *told_end_ > max_unread_;
  return watch_->Unread(max_unread_);
}

void VideoStream::OnMore() {
  // Each pass tells each viewer; one that has not looked yet need not be told again.
  if (more_told_.exchange(true)) return;
  std::function<void()> more;
  {
    const MutexLock lock(mutex_);
    more = more_;
  }
  if (more) more();
}

HttpStream::Part VideoStream::PartOf(const ChunkLog::Step& step) const {
  const Piece& piece = *step.piece;
  const Message& message = piece.messages[step.message];
  Part part;
  if (form_ != StreamForm::kMp4 && step.message == 0) {
    const Reader reader = form_ == StreamForm::kEvents ? Reader::kTenant : Reader::kLinkHolder;
    part.head = ToLine(ToJson(piece.event, piece.media.size(), reader));
  }
  if (message.media_size > 0) {
    part.owner = step.piece;
    part.bytes = std::string_view(piece.media).substr(message.media_begin, message.media_size);
  }
  return part;
}

HttpStream::Step VideoStream::Next() {
  more_told_ = false;
  if (told_end_.has_value()) return {.ended = true};
  while (true) {
    const ChunkLog::Step step = watch_->Next();
    if (step.piece != nullptr) {
      Part part = PartOf(step);
      if (!part.head.empty() || !part.bytes.empty()) return {.has_part = true, .part = std::move(part)};
      watch_->Report(watch_->Written());
      continue;
    }
    if (!step.end.has_value()) return {};
    if (step.end->ok()) return {.ended = true};
    if (form_ == StreamForm::kMp4) return {.ended = true, .cut = true};
    // The stream is whole, though its video is not.
    told_end_ = absl::Now();
    nlohmann::json error = ErrorJson(*step.end);
    error["event"] = "error";
    return {.has_part = true, .part = {.head = ToLine(error)}};
  }
}

void VideoStream::Written() { sent_ = watch_->Written(); }

void VideoStream::Report() { watch_->Report(std::exchange(sent_, {})); }

}  // namespace longtake::server
