#include "clients/cli/load/viewer.h"

#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "clients/cli/error_text.h"
#include "clients/cli/proto_time.h"

namespace longtake::client {
namespace {

v1::GenerateVideoRequest RequestOf(const Visit& visit) {
  v1::GenerateVideoRequest request;
  v1::VideoSpec& spec = *request.mutable_spec();
  spec.set_prompt(visit.prompt);
  *spec.mutable_duration() = ToProto(visit.seconds);
  spec.set_seed(static_cast<int64_t>(visit.seed));
  request.set_without_progress(true);
  request.mutable_delivery_options()->set_delivery(visit.offline ? v1::DELIVERY_OFFLINE : v1::DELIVERY_LIVE);
  const std::pair<std::string, std::string> sides = absl::StrSplit(visit.size, absl::MaxSplits('x', 1));
  int width = 0, height = 0;
  if (absl::SimpleAtoi(sides.first, &width) && absl::SimpleAtoi(sides.second, &height)) {
    spec.mutable_size()->set_width(width);
    spec.mutable_size()->set_height(height);
  }
  return request;
}

}  // namespace

const char* NameOf(End end) {
  switch (end) {
    case End::kFinished:
      return "finished";
    case End::kRefused:
      return "refused";
    case End::kLeft:
      return "left";
    case End::kCut:
      return "cut";
    case End::kFailed:
      return "failed";
  }
  return "";
}

bool Record::OnChunk(double now, double video_seconds, bool last_in_block) {
  ++chunks;
  if (first_chunk < 0) first_chunk = now;
  return playout.Arrive(absl::Seconds(now), playout.arrived() + absl::Seconds(video_seconds), last_in_block) >
         absl::ZeroDuration();
}

Viewer::Viewer(Visit visit, int slot, Timetable* timetable, Callbacks callbacks)
    : timetable_(timetable), callbacks_(std::move(callbacks)), request_(RequestOf(visit)) {
  const MutexLock lock(mutex_);
  record_.visit = std::move(visit);
  record_.slot = slot;
}

void Viewer::Start(v1::VideoService::Stub* stub) {
  {
    const MutexLock lock(mutex_);
    record_.asked = timetable_->now();
  }
  stub->async()->GenerateVideo(&context_, &request_, this);
  StartRead(&event_);
  StartCall();
}

void Viewer::Leave(End why) {
  {
    const MutexLock lock(mutex_);
    if (record_.over || leaving_) return;
    leaving_ = true;
    record_.end = why;
  }
  context_.TryCancel();
}

Record Viewer::record() const {
  const MutexLock lock(mutex_);
  return record_;
}

double Viewer::Hear(const v1::WatchVideoResponse& event) {
  const double now = timetable_->now();
  bool stalled = false;
  {
    const MutexLock lock(mutex_);
    if (event.has_accepted()) {
      record_.accepted = now;
      const v1::Quote& quote = event.accepted().quote();
      if (quote.has_first_chunk_delay()) record_.quoted = Seconds(quote.first_chunk_delay());
    }
    if (event.has_finished()) finished_ = true;
    if (!event.has_chunk()) return 0;
    const v1::Chunk& chunk = event.chunk();
    if (chunk.part() + 1 < chunk.part_count()) return 0;
    if (chunk.first_frame() != frames_) {
      record_.error = absl::StrCat("chunk ", chunk.index(), " of block ", chunk.block(), " begins with frame ",
                                   chunk.first_frame(), " after ", frames_, " frames");
    }
    frames_ += chunk.frame_count();
    stalled = record_.OnChunk(now, Seconds(chunk.duration()), chunk.last_in_block()) && !record_.visit.offline;
  }
  const double duration = Seconds(event.chunk().duration());
  callbacks_.on_chunk(now, duration, stalled);
  const MutexLock lock(mutex_);
  return record_.visit.slow ? kSlowRead * duration : 0;
}

void Viewer::OnReadDone(bool ok) {
  if (!ok) return;  // OnDone follows
  const double pause = Hear(event_);
  if (pause == 0) return StartRead(&event_);
  AddHold();  // no OnDone before the read that the timetable begins
  timetable_->At(timetable_->now() + pause, [this] {
    StartRead(&event_);
    RemoveHold();
  });
}

void Viewer::OnDone(const grpc::Status& status) {
  {
    const MutexLock lock(mutex_);
    record_.ended = timetable_->now();
    record_.over = true;
    // A server that cannot be reached refuses nothing: it does not say when to try again.
    const std::optional<double> retry = RetryAfter(status);
    if (!record_.error.empty()) {
      record_.end = End::kFailed;
    } else if (status.ok() && finished_) {
      record_.end = End::kFinished;  // also where it was about to leave
    } else if (!leaving_ && record_.accepted < 0 && retry.has_value()) {
      record_.end = End::kRefused;
      record_.retry_after = *retry;
    } else if (!leaving_) {
      record_.end = End::kFailed;
      record_.error = ErrorText(status);
    }
    if (!record_.visit.offline && record_.end != End::kFinished) record_.playout.Leave(absl::Seconds(record_.ended));
  }
  const std::function<void()> on_done = callbacks_.on_done;  // the viewer may be gone before the call returns
  on_done();
}

}  // namespace longtake::client
