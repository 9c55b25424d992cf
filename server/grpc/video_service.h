// longtake.v1.VideoService.
#ifndef LONGTAKE_SERVER_GRPC_VIDEO_SERVICE_H_
#define LONGTAKE_SERVER_GRPC_VIDEO_SERVICE_H_

#include <grpcpp/grpcpp.h>

#include <memory>

#include "longtake/v1/video_service.grpc.pb.h"
#include "server/access/viewing_links.h"
#include "server/grpc/door.h"
#include "server/grpc/peers.h"
#include "server/grpc/watch_call.h"
#include "server/telemetry/metrics.h"

namespace longtake::server {

// The streaming methods are raw: their messages are serialised once for all viewers, and not copied for each.
class VideoService : public v1::VideoService::WithRawCallbackMethod_WatchVideo<
                         v1::VideoService::WithRawCallbackMethod_GenerateVideo<v1::VideoService::CallbackService>> {
 public:
  // All outlive it.
  VideoService(const Door* door, const ViewingLinks* links, Peers* peers, Metrics* metrics);

  grpc::ServerUnaryReactor* CreateVideo(grpc::CallbackServerContext* context, const v1::CreateVideoRequest* request,
                                        v1::Video* response) override;
  grpc::ServerWriteReactor<grpc::ByteBuffer>* WatchVideo(grpc::CallbackServerContext* context,
                                                         const grpc::ByteBuffer* request) override;
  grpc::ServerWriteReactor<grpc::ByteBuffer>* GenerateVideo(grpc::CallbackServerContext* context,
                                                            const grpc::ByteBuffer* request) override;
  grpc::ServerUnaryReactor* GetVideo(grpc::CallbackServerContext* context, const v1::GetVideoRequest* request,
                                     v1::Video* response) override;
  grpc::ServerUnaryReactor* ListVideos(grpc::CallbackServerContext* context, const v1::ListVideosRequest* request,
                                       v1::ListVideosResponse* response) override;
  grpc::ServerUnaryReactor* CancelVideo(grpc::CallbackServerContext* context, const v1::CancelVideoRequest* request,
                                        v1::Video* response) override;
  grpc::ServerUnaryReactor* DeleteVideo(grpc::CallbackServerContext* context, const v1::DeleteVideoRequest* request,
                                        google::protobuf::Empty* response) override;
  grpc::ServerUnaryReactor* ForkVideo(grpc::CallbackServerContext* context, const v1::ForkVideoRequest* request,
                                      v1::Video* response) override;
  grpc::ServerUnaryReactor* ChangePrompt(grpc::CallbackServerContext* context, const v1::ChangePromptRequest* request,
                                         v1::ChangePromptResponse* response) override;
  grpc::ServerUnaryReactor* ReportPlayback(grpc::CallbackServerContext* context,
                                           const v1::ReportPlaybackRequest* request,
                                           v1::ReportPlaybackResponse* response) override;
  grpc::ServerUnaryReactor* CreateViewingLink(grpc::CallbackServerContext* context,
                                              const v1::CreateViewingLinkRequest* request,
                                              v1::CreateViewingLinkResponse* response) override;
  grpc::ServerUnaryReactor* QuoteVideo(grpc::CallbackServerContext* context, const v1::QuoteVideoRequest* request,
                                       v1::QuoteVideoResponse* response) override;

 private:
  std::shared_ptr<WatchCall> NewCall(grpc::CallbackServerContext* context, const absl::StatusOr<Visit>& visit);
  void Count(const absl::Status& refusal);
  // Finishes a call with the video that was created, or counts why none was. `method`, `request`: the call's, which
  // another server answers where the video is that one's.
  template <typename Request>
  std::function<void(const absl::StatusOr<std::shared_ptr<Video>>&)> AnswerCreated(
      Peers::Method<Request, v1::Video> method, grpc::CallbackServerContext* context, const Request* request,
      v1::Video* response, grpc::ServerUnaryReactor* reactor);

  const Door* const door_;
  const ViewingLinks* const links_;
  Peers* const peers_;
  Metrics* const metrics_;
};

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_GRPC_VIDEO_SERVICE_H_
