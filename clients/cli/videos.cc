// The commands about videos that there are.
#include <google/protobuf/util/json_util.h>
#include <grpcpp/grpcpp.h>

#include <cstdio>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/str_format.h"
#include "clients/cli/ask.h"
#include "clients/cli/commands.h"
#include "clients/cli/connect.h"
#include "clients/cli/error_text.h"
#include "clients/cli/proto_time.h"
#include "clients/cli/request.h"
#include "longtake/v1/video_service.grpc.pb.h"

namespace longtake::client {
namespace {

using Stub = v1::VideoService::Stub;

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

// Prints what `method`, whose request is a name, answers about the video.
template <typename Request>
int AskAndPrint(const VideoFlags& flags,
                grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, v1::Video*)) {
  Request request;
  request.set_name(VideoName(flags.video));
  v1::Video video;
  const auto stub = v1::VideoService::NewStub(Connect(flags.server));
  const grpc::Status status = Ask(*stub, method, request, video);
  if (!status.ok()) return Complain(ErrorText(status));
  Print(video, flags.json);
  return 0;
}

}  // namespace

int List(const VideosFlags& flags) {
  const auto stub = v1::VideoService::NewStub(Connect(flags.server));
  v1::ListVideosRequest request;
  do {
    v1::ListVideosResponse response;
    const grpc::Status status = Ask(*stub, &Stub::ListVideos, request, response);
    if (!status.ok()) return Complain(ErrorText(status));
    for (const v1::Video& video : response.videos()) Print(video, flags.json);
    request.set_page_token(response.next_page_token());
  } while (!request.page_token().empty());
  return 0;
}

int Get(const VideoFlags& flags) { return AskAndPrint(flags, &Stub::GetVideo); }
int Cancel(const VideoFlags& flags) { return AskAndPrint(flags, &Stub::CancelVideo); }

int Delete(const VideoFlags& flags) {
  v1::DeleteVideoRequest request;
  request.set_name(VideoName(flags.video));
  google::protobuf::Empty nothing;
  const auto stub = v1::VideoService::NewStub(Connect(flags.server));
  const grpc::Status status = Ask(*stub, &Stub::DeleteVideo, request, nothing);
  return status.ok() ? 0 : Complain(ErrorText(status));
}

}  // namespace longtake::client
