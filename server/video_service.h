// longtake.v1.VideoService.
#ifndef LONGTAKE_SERVER_VIDEO_SERVICE_H_
#define LONGTAKE_SERVER_VIDEO_SERVICE_H_

#include <grpcpp/grpcpp.h>

#include "longtake/v1/video_service.grpc.pb.h"
#include "server/metrics.h"
#include "server/studio_slot.h"

namespace longtake::server {

class VideoService : public v1::VideoService::CallbackService {
 public:
  // Both outlive it.
  VideoService(StudioSlot* studio, Metrics* metrics) : studio_(studio), metrics_(metrics) {}

  grpc::ServerUnaryReactor* CreateVideo(grpc::CallbackServerContext* context, const v1::CreateVideoRequest* request,
                                        v1::Video* response) override;
  grpc::ServerWriteReactor<v1::WatchVideoResponse>* WatchVideo(grpc::CallbackServerContext* context,
                                                               const v1::WatchVideoRequest* request) override;
  grpc::ServerWriteReactor<v1::WatchVideoResponse>* GenerateVideo(grpc::CallbackServerContext* context,
                                                                  const v1::GenerateVideoRequest* request) override;
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
  grpc::ServerUnaryReactor* QuoteVideo(grpc::CallbackServerContext* context, const v1::QuoteVideoRequest* request,
                                       v1::QuoteVideoResponse* response) override;

 private:
  StudioSlot* const studio_;
  Metrics* const metrics_;
};

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_VIDEO_SERVICE_H_
