// Other servers that share the store. A call about a video that one of them makes is passed on to it, so that a client
// may ask any server about any video.
#ifndef LONGTAKE_SERVER_GRPC_PEERS_H_
#define LONGTAKE_SERVER_GRPC_PEERS_H_

#include <grpcpp/grpcpp.h>

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/mutex.h"
#include "longtake/v1/video_service.grpc.pb.h"
#include "server/grpc/front_options.h"
#include "server/grpc/status.h"

namespace longtake::server {

// Metadata of a call that is passed on: that it is, and in place of a token, which it does not have, who is calling.
inline constexpr char kPassedOnKey[] = "x-longtake-passed-on";
inline constexpr char kCallerKey[] = "x-longtake-caller-bin";

// A passed-on call has its client's deadline and Authorization header: the other server asks again who is calling. A
// caller that only its certificate identifies is named to servers that know this one by its own certificate; where they
// do not, such a call is not passed on. Its line in that server's log has the same id, and its span there is a child of
// this server's. It is marked, and a marked call is not passed on again.
class Peers {
 public:
  // `own`: the TLS of this server's port. InvalidArgument: CheckPeers says what is wrong.
  static absl::StatusOr<std::unique_ptr<Peers>> Open(const PeerOptions& options, const TlsOptions& own);

  // The address to which a call that has failed so is to be passed on; nothing: the error is the client's.
  std::optional<std::string> ServerOf(const absl::Status& error, const grpc::CallbackServerContext& context) const;

  template <typename Request, typename Response>
  using Method = void (v1::VideoService::StubInterface::async_interface::*)(grpc::ClientContext*, const Request*,
                                                                            Response*,
                                                                            std::function<void(grpc::Status)>);
  // Finishes a call whose answer is `status` here: where another server makes the video, with what that one answers.
  template <typename Request, typename Response>
  void PassOn(const absl::Status& status, Method<Request, Response> method, grpc::CallbackServerContext* context,
              const Request* request, Response* response, grpc::ServerUnaryReactor* reactor) {
    const std::optional<std::string> address = ServerOf(status, *context);
    if (!address.has_value()) return reactor->Finish(ToGrpc(status, context));
    const std::shared_ptr<v1::VideoService::Stub> stub = StubOf(*address);
    const std::shared_ptr<grpc::ClientContext> onward = ContextFor(context);
    (stub->async()->*method)(onward.get(), request, response,
                             [stub, onward, context, reactor](const grpc::Status& answer) {
                               CopyTrailers(*onward, context);
                               reactor->Finish(PassedOn(answer, context));
                             });
  }

  // The same of WatchVideo. `on_done`: gRPC is done with the call.
  grpc::ServerWriteReactor<grpc::ByteBuffer>* PassOnWatch(const std::string& address,
                                                          grpc::CallbackServerContext* context,
                                                          const grpc::ByteBuffer& request,
                                                          std::function<void()> on_done);

 private:
  Peers(std::shared_ptr<grpc::ChannelCredentials> credentials, bool known)
      : credentials_(std::move(credentials)), known_(known) {}
  std::shared_ptr<grpc::Channel> ChannelTo(const std::string& address);
  std::shared_ptr<v1::VideoService::Stub> StubOf(const std::string& address) {
    return v1::VideoService::NewStub(ChannelTo(address));
  }
  static std::shared_ptr<grpc::ClientContext> ContextFor(grpc::CallbackServerContext* context);
  static void CopyTrailers(const grpc::ClientContext& from, grpc::CallbackServerContext* to);

  const std::shared_ptr<grpc::ChannelCredentials> credentials_;
  const bool known_;  // the other servers know this one, and take its word for who is calling
  Mutex mutex_;
  std::map<std::string, std::shared_ptr<grpc::Channel>> channels_ ABSL_GUARDED_BY(mutex_);  // by address
};

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_GRPC_PEERS_H_
