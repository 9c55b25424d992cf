// The commands about videos that there are.
#include <google/protobuf/util/json_util.h>
#include <grpcpp/grpcpp.h>

#include <chrono>
#include <cstdio>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/str_format.h"
#include "clients/cli/commands.h"
#include "clients/cli/connect.h"
#include "clients/cli/error_text.h"
#include "clients/cli/proto_time.h"
#include "clients/cli/request.h"
#include "longtake/v1/video_service.grpc.pb.h"

namespace longtake::client {
namespace {

constexpr std::chrono::seconds kAnswerWithin{10};

void SetDeadline(grpc::ClientContext& context) {
  context.set_deadline(std::chrono::system_clock::now() + kAnswerWithin);
}

std::string StateOf(const v1::Video& video) {
  return absl::AsciiStrToLower(v1::Video::State_Name(video.state()).substr(std::string("STATE_").size()));
}

void Print(const v1::Video& video, bool json) {
  if (json) {
    std::string text;
    google::protobuf::util::JsonPrintOptions options;
    options.preserve_proto_field_names = true;
    if (!google::protobuf::util::MessageToJsonString(video, &text, options).ok()) return;
    std::printf("%s\n", text.c_str());
    return;
  }
  std::printf("%s  %-9s  %6.2f of %6.2f s  %d watching  %s\n", video.name().c_str(), StateOf(video).c_str(),
              Seconds(video.progress().duration()), Seconds(video.format().duration()), video.progress().viewer_count(),
              video.spec().prompt().c_str());
  if (video.has_error()) std::printf("  %s\n", video.error().message().c_str());
}

}  // namespace

int List(const VideosFlags& flags) {
  const auto stub = v1::VideoService::NewStub(Connect(flags.server));
  v1::ListVideosRequest request;
  do {
    grpc::ClientContext context;
    SetDeadline(context);
    v1::ListVideosResponse response;
    const grpc::Status status = stub->ListVideos(&context, request, &response);
    if (!status.ok()) return Complain(ErrorText(status));
    for (const v1::Video& video : response.videos()) Print(video, flags.json);
    request.set_page_token(response.next_page_token());
  } while (!request.page_token().empty());
  return 0;
}

int Get(const VideoFlags& flags) {
  grpc::ClientContext context;
  SetDeadline(context);
  v1::GetVideoRequest request;
  request.set_name(VideoName(flags.video));
  v1::Video video;
  const grpc::Status status = v1::VideoService::NewStub(Connect(flags.server))->GetVideo(&context, request, &video);
  if (!status.ok()) return Complain(ErrorText(status));
  Print(video, flags.json);
  return 0;
}

int Cancel(const VideoFlags& flags) {
  grpc::ClientContext context;
  SetDeadline(context);
  v1::CancelVideoRequest request;
  request.set_name(VideoName(flags.video));
  v1::Video video;
  const grpc::Status status = v1::VideoService::NewStub(Connect(flags.server))->CancelVideo(&context, request, &video);
  if (!status.ok()) return Complain(ErrorText(status));
  Print(video, flags.json);
  return 0;
}

int Delete(const VideoFlags& flags) {
  grpc::ClientContext context;
  SetDeadline(context);
  v1::DeleteVideoRequest request;
  request.set_name(VideoName(flags.video));
  google::protobuf::Empty nothing;
  const grpc::Status status =
      v1::VideoService::NewStub(Connect(flags.server))->DeleteVideo(&context, request, &nothing);
  return status.ok() ? 0 : Complain(ErrorText(status));
}

}  // namespace longtake::client
