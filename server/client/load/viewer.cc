#include "server/client/load/viewer.h"

#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "server/client/error_text.h"

namespace longtake::client {
namespace {

v1::GenerateRequest RequestOf(const Visit& visit) {
  v1::GenerateRequest request;
  request.set_prompt(visit.prompt);
  request.set_seconds(visit.seconds);
  request.set_seed(visit.seed);
  request.set_delivery(visit.offline ? v1::DELIVERY_OFFLINE : v1::DELIVERY_LIVE);
  const std::pair<std::string, std::string> sides = absl::StrSplit(visit.size, absl::MaxSplits('x', 1));
  int width = 0, height = 0;
  if (absl::SimpleAtoi(sides.first, &width) && absl::SimpleAtoi(sides.second, &height)) {
    request.mutable_size()->set_width(width);
    request.mutable_size()->set_height(height);
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

Viewer::Viewer(Visit visit, int slot, Timetable* timetable, Callbacks callbacks)
    : timetable_(timetable), callbacks_(std::move(callbacks)), request_(RequestOf(visit)) {
  const std::lock_guard lock(mutex_);
  record_.visit = std::move(visit);
  record_.slot = slot;
}

void Viewer::Start(v1::LongtakeService::Stub* stub) {
  {
    const std::lock_guard lock(mutex_);
    record_.asked = timetable_->now();
  }
  stub->async()->Generate(&context_, &request_, this);
  StartRead(&event_);
  StartCall();
}

void Viewer::Leave(End why) {
  {
    const std::lock_guard lock(mutex_);
    if (record_.over || leaving_) return;
    leaving_ = true;
    record_.end = why;
  }
  context_.TryCancel();
}

Record Viewer::record() const {
  const std::lock_guard lock(mutex_);
  return record_;
}

double Viewer::Hear(const v1::GenerateEvent& event) {
  const double now = timetable_->now();
  bool stalled = false;
  {
    const std::lock_guard lock(mutex_);
    if (event.has_accepted()) {
      record_.accepted = now;
      const v1::Quote& quote = event.accepted().quote();
      if (quote.has_first_chunk_seconds()) record_.quoted = quote.first_chunk_seconds();
    }
    if (event.has_finished()) finished_ = true;
    if (!event.has_chunk() || !event.chunk().last_part()) return 0;
    const v1::Chunk& chunk = event.chunk();
    if (chunk.index() != record_.chunks || chunk.first_frame() != frames_) {
      record_.error = absl::StrCat("chunk ", chunk.index(), " begins with frame ", chunk.first_frame(), " after ",
                                   record_.chunks, " chunks and ", frames_, " frames");
    }
    ++record_.chunks;
    frames_ += chunk.frames();
    stalled = record_.playback.Arrived(now, chunk.duration_seconds()) && !record_.visit.offline;
  }
  callbacks_.on_chunk(now, event.chunk().duration_seconds(), stalled);
  const std::lock_guard lock(mutex_);
  return record_.visit.slow ? kSlowRead * event.chunk().duration_seconds() : 0;
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
    const std::lock_guard lock(mutex_);
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
    if (!record_.visit.offline && record_.end != End::kFinished) record_.playback.Cut(record_.ended);
  }
  const std::function<void()> on_done = callbacks_.on_done;  // the viewer may be gone before the call returns
  on_done();
}

}  // namespace longtake::client
