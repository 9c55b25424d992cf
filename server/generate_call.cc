#include "server/generate_call.h"

#include <grpc/grpc.h>

#include <utility>

#include "server/error.h"
#include "server/status.h"

namespace longtake::server {

std::shared_ptr<GenerateCall> GenerateCall::Create(grpc::CallbackServerContext* context,
                                                   std::function<void()> on_done) {
  grpc_call_ref(context->c_call());
  std::shared_ptr<GenerateCall> call(new GenerateCall(context, std::move(on_done)));
  const std::lock_guard lock(call->mutex_);
  call->self_ = call;
  return call;
}

GenerateCall::~GenerateCall() { grpc_call_unref(call_); }

void GenerateCall::Open(std::function<void()> on_cancel) {
  bool already_cancelled = false;
  {
    const std::lock_guard lock(mutex_);
    open_ = true;
    already_cancelled = cancelled_;
    if (!already_cancelled) on_cancel_ = on_cancel;
  }
  if (already_cancelled) on_cancel();
  Advance();
}

void GenerateCall::Refuse(absl::Status status) {
  {
    const std::lock_guard lock(mutex_);
    open_ = true;
    queue_.clear();
    progress_.reset();
    end_ = std::move(status);
  }
  Advance();
}

void GenerateCall::Send(v1::WatchVideoResponse event) {
  {
    const std::lock_guard lock(mutex_);
    if (cancelled_) return;
    queue_.push_back({std::move(event), nullptr});
  }
  Advance();
}

void GenerateCall::SendProgress(v1::WatchVideoResponse event) {
  if (without_progress_) return;
  {
    const std::lock_guard lock(mutex_);
    if (cancelled_) return;
    progress_ = std::move(event);
  }
  Advance();
}

void GenerateCall::SendChunk(std::vector<v1::WatchVideoResponse> parts, std::function<void()> delivered) {
  {
    const std::lock_guard lock(mutex_);
    if (cancelled_) return;
    for (size_t i = 0; i < parts.size(); ++i) {
      queue_.push_back({std::move(parts[i]), i + 1 == parts.size() ? std::move(delivered) : nullptr});
    }
  }
  Advance();
}

void GenerateCall::End(const absl::Status& status) {
  {
    const std::lock_guard lock(mutex_);
    if (!end_.has_value()) end_ = status;
  }
  Advance();
}

void GenerateCall::GiveUp() {
  // No Finish may begin while a write is under way, and the client does not take it.
  grpc_call_cancel_with_status(call_, GRPC_STATUS_ABORTED, "the client has read nothing for too long", nullptr);
}

void GenerateCall::Advance() {
  const v1::WatchVideoResponse* write = nullptr;
  std::optional<absl::Status> finish;
  {
    const std::lock_guard lock(mutex_);
    if (finished_ || write_under_way_) return;
    if (cancelled_) {
      finish = MakeError(absl::StatusCode::kCancelled, "the client is gone", {.reason = Reason::kVideoCancelled});
    } else if (!open_) {
      return;
    } else if (!queue_.empty()) {
      writing_ = std::move(queue_.front());
      queue_.pop_front();
      write = &writing_.event;
    } else if (end_.has_value()) {  // progress that has not left is of no use any more
      finish = std::move(end_);
    } else if (progress_.has_value()) {
      writing_ = {*std::exchange(progress_, std::nullopt), nullptr};
      write = &writing_.event;
    } else {
      return;
    }
    finished_ = finish.has_value();
    write_under_way_ = write != nullptr;
  }
  // Outside the lock; one operation at a time all the same, for the flags were set under it.
  if (write != nullptr) StartWrite(write);
  if (finish.has_value()) Finish(ToGrpc(*finish, context_));
}

void GenerateCall::OnWriteDone(bool ok) {
  std::function<void()> delivered;
  {
    const std::lock_guard lock(mutex_);
    write_under_way_ = false;
    if (ok) delivered = std::move(writing_.delivered);
    writing_ = {};
  }
  if (delivered != nullptr) delivered();
  if (!ok) return OnCancel();
  Advance();
}

void GenerateCall::OnCancel() {
  std::function<void()> on_cancel;
  std::deque<Item> dropped;  // destroyed outside the lock: it may hold the last reference to the video
  {
    const std::lock_guard lock(mutex_);
    cancelled_ = true;
    on_cancel = std::exchange(on_cancel_, nullptr);
    dropped.swap(queue_);
    progress_.reset();
  }
  if (on_cancel != nullptr) on_cancel();
  Advance();
}

void GenerateCall::OnDone() {
  std::shared_ptr<GenerateCall> self;
  std::deque<Item> dropped;
  {
    const std::lock_guard lock(mutex_);
    self = std::move(self_);
    dropped.swap(queue_);
    on_cancel_ = nullptr;
  }
  on_done_();
}

}  // namespace longtake::server
