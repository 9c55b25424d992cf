// One streaming call: pulls a video's log and writes it to its client, as fast as the client reads.
#ifndef LONGTAKE_SERVER_GRPC_WATCH_CALL_H_
#define LONGTAKE_SERVER_GRPC_WATCH_CALL_H_

#include <grpcpp/grpcpp.h>

#include <functional>
#include <memory>
#include <optional>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "common/mutex.h"
#include "server/video/studio.h"

namespace longtake::server {

// Lives until gRPC is done with it: it holds itself. Nothing is queued in it: what its client does not read stays in
// the video's log.
class WatchCall : public grpc::ServerWriteReactor<grpc::ByteBuffer>,
                  public ChunkLog::Listener,
                  public std::enable_shared_from_this<WatchCall> {
 public:
  // `on_done`: gRPC is done with the call, which may be destroyed after it.
  static std::shared_ptr<WatchCall> Create(grpc::CallbackServerContext* context, std::function<void()> on_done);
  ~WatchCall() override;

  // One of the two, once; before it nothing is written.
  void Open(std::shared_ptr<Studio> studio, const std::shared_ptr<Video>& video, const WatchOptions& options);
  void Refuse(const absl::Status& status);

  void OnMore() override { Advance(); }
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

 private:
  WatchCall(grpc::CallbackServerContext* context, std::function<void()> on_done)
      : context_(context), call_(context->c_call()), on_done_(std::move(on_done)) {}
  // Starts the next operation if none is under way.
  void Advance();

  grpc::CallbackServerContext* const context_;  // until OnDone
  grpc_call* const call_;  // a reference: the context goes with gRPC's part of the call, this one stays
  const std::function<void()> on_done_;
  Mutex mutex_;
  std::shared_ptr<WatchCall> self_ ABSL_GUARDED_BY(mutex_);
  std::shared_ptr<Studio> studio_ ABSL_GUARDED_BY(mutex_);
  std::shared_ptr<Watch> watch_ ABSL_GUARDED_BY(mutex_);  // from Open until the call has an end
  std::optional<absl::Status> end_ ABSL_GUARDED_BY(mutex_);
  grpc::ByteBuffer writing_ ABSL_GUARDED_BY(mutex_);
  bool write_under_way_ ABSL_GUARDED_BY(mutex_) = false;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_GRPC_WATCH_CALL_H_
