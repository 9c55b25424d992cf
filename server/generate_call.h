// One GenerateVideo call: writes a video's events to its client, one at a time, as fast as the client reads.
#ifndef LONGTAKE_SERVER_GENERATE_CALL_H_
#define LONGTAKE_SERVER_GENERATE_CALL_H_

#include <grpcpp/grpcpp.h>

#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "longtake/v1/events.pb.h"
#include "server/video.h"

namespace longtake::server {

// Lives until gRPC is done with it: it holds itself. What waits to be written is bounded: chunks by the scheduler,
// progress to the latest one, other events to a few.
class GenerateCall : public grpc::ServerWriteReactor<v1::WatchVideoResponse>,
                     public EventSink,
                     public std::enable_shared_from_this<GenerateCall> {
 public:
  // `on_done`: gRPC is done with the call, which may be destroyed after it.
  static std::shared_ptr<GenerateCall> Create(grpc::CallbackServerContext* context, std::function<void()> on_done);
  ~GenerateCall() override;

  // Its client wants no progress. Before anything is sent.
  void LeaveOutProgress() { without_progress_ = true; }
  // Nothing is written before one of these. `on_cancel` is called once if the client goes.
  void Open(std::function<void()> on_cancel);
  void Refuse(absl::Status status);  // throws away what was sent

  void Send(v1::WatchVideoResponse event) override;
  void SendProgress(v1::WatchVideoResponse event) override;
  void SendChunk(std::vector<v1::WatchVideoResponse> parts, std::function<void()> delivered) override;
  void End(const absl::Status& status) override;
  void GiveUp() override;

  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

 private:
  struct Item {
    v1::WatchVideoResponse event;
    std::function<void()> delivered;
  };
  GenerateCall(grpc::CallbackServerContext* context, std::function<void()> on_done)
      : context_(context), call_(context->c_call()), on_done_(std::move(on_done)) {}
  // Starts the next operation if none is under way.
  void Advance();

  grpc::CallbackServerContext* const context_;  // until OnDone
  grpc_call* const call_;  // a reference: the context goes with gRPC's part of the call, this one stays
  const std::function<void()> on_done_;
  std::mutex mutex_;
  std::shared_ptr<GenerateCall> self_ ABSL_GUARDED_BY(mutex_);
  std::function<void()> on_cancel_ ABSL_GUARDED_BY(mutex_);
  std::deque<Item> queue_ ABSL_GUARDED_BY(mutex_);
  std::optional<v1::WatchVideoResponse> progress_ ABSL_GUARDED_BY(mutex_);
  std::optional<absl::Status> end_ ABSL_GUARDED_BY(mutex_);
  Item writing_ ABSL_GUARDED_BY(mutex_);
  bool without_progress_ = false;
  bool open_ ABSL_GUARDED_BY(mutex_) = false;
  bool write_under_way_ ABSL_GUARDED_BY(mutex_) = false;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_GENERATE_CALL_H_
