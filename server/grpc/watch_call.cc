#include "server/grpc/watch_call.h"

#include <grpc/grpc.h>

#include <utility>

#include "server/grpc/call_context.h"
#include "server/grpc/status.h"
#include "server/grpc/wire.h"
#include "server/video/error.h"

namespace longtake::server {

std::shared_ptr<WatchCall> WatchCall::Create(grpc::CallbackServerContext* context, std::function<void()> on_done) {
  grpc_call_ref(context->c_call());
  std::shared_ptr<WatchCall> call(new WatchCall(context, std::move(on_done)));
  const MutexLock lock(call->mutex_);
  call->self_ = call;
  return call;
}

WatchCall::~WatchCall() { grpc_call_unref(call_); }

void WatchCall::Open(std::shared_ptr<Studio> studio, const std::shared_ptr<Video>& video, const WatchOptions& options) {
  absl::StatusOr<std::unique_ptr<Watch>> watch = video->OpenWatch(options, shared_from_this());
  if (!watch.ok()) return Refuse(watch.status());
  {
    std::shared_ptr<Watch> opened = *std::move(watch);
    const MutexLock lock(mutex_);
    studio_ = std::move(studio);
    if (!cancelled_) {
      watch_ = std::move(opened);
      SetVideo(context_, video->name());
    }
    // Where the client has gone, `opened` is destroyed behind the lock, and before the call may end.
  }
  Advance();
}

void WatchCall::Refuse(const absl::Status& status) {
  {
    const MutexLock lock(mutex_);
    end_ = status;
  }
  Advance();
}

void WatchCall::Advance() {
  bool write = false;
  std::optional<absl::Status> finish;
  std::shared_ptr<Watch> gone;  // destroyed outside the lock: it tells its video
  {
    const MutexLock lock(mutex_);
    if (finished_) return;
    if (write_under_way_) {
      // No Finish may begin while a write is under way, and the client does not take it.
      if (watch_ != nullptr && !cancelled_ && watch_->Unread(studio_->options().max_unread)) {
        grpc_call_cancel_with_status(call_, GRPC_STATUS_ABORTED, "the client has read nothing for too long", nullptr);
      }
      return;
    }
    if (cancelled_) {
      finish = MakeError(absl::StatusCode::kCancelled, "the client is gone", {.reason = Reason::kVideoCancelled});
    } else if (end_.has_value()) {
      finish = std::move(end_);
    } else if (watch_ != nullptr) {
      ChunkLog::Step step = watch_->Next();
      if (step.piece != nullptr) {
        writing_ = ToByteBuffer(step.piece, step.message);
        write = write_under_way_ = true;
      } else if (step.end.has_value()) {
        finish = std::move(step.end);
      }
    }
    finished_ = finish.has_value();
    if (finished_) gone = std::move(watch_);
  }
  gone.reset();
  // Outside the lock; one operation at a time all the same, for the flags were set under it.
  // Written through, or the write would end when gRPC has taken the message, not when the kernel has.
  if (write) StartWrite(&writing_, grpc::WriteOptions().set_write_through());
  if (finish.has_value()) Finish(ToGrpc(*finish, context_));
}

void WatchCall::OnWriteDone(bool ok) {
  if (!ok) {
    {
      const MutexLock lock(mutex_);
      write_under_way_ = false;
    }
    return OnCancel();
  }
  std::shared_ptr<Watch> watch;
  Watch::Sent sent;
  {
    const MutexLock lock(mutex_);
    write_under_way_ = false;
    writing_.Clear();
    watch = watch_;
    if (watch != nullptr) sent = watch->Written();
  }
  Advance();
  if (watch != nullptr) watch->Report(sent);
}

void WatchCall::OnCancel() {
  std::shared_ptr<Watch> gone;
  {
    const MutexLock lock(mutex_);
    cancelled_ = true;
    gone = std::move(watch_);
  }
  gone.reset();
  Advance();
}

void WatchCall::OnDone() {
  std::shared_ptr<WatchCall> self;
  std::shared_ptr<Studio> studio;
  {
    const MutexLock lock(mutex_);
    self = std::move(self_);
    studio = std::move(studio_);
  }
  studio.reset();
  on_done_();
}

}  // namespace longtake::server
