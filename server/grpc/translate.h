// Between the API's messages and the service's own types.
#ifndef LONGTAKE_SERVER_GRPC_TRANSLATE_H_
#define LONGTAKE_SERVER_GRPC_TRANSLATE_H_

#include <string>
#include <vector>

#include "absl/time/time.h"
#include "longtake/v1/events.pb.h"
#include "longtake/v1/resources.pb.h"
#include "server/video/event.h"
#include "server/video/request.h"

namespace longtake::server {

google::protobuf::Duration ToProto(absl::Duration duration);
google::protobuf::Timestamp ToProto(absl::Time time);
v1::FrameRate ToProto(const media::FrameRate& rate);
v1::Size ToProto(Size size);
v1::Decoder ToProto(DecoderKind decoder);
v1::Quote ToProto(const scheduler::Quote& quote, scheduler::Delivery delivery);
v1::VideoSpec ToProto(const VideoSpec& spec);
v1::DeliveryOptions ToProto(const DeliveryOptions& options);
v1::VideoFormat FormatOf(const VideoPlan& plan);
v1::Video ToProto(const VideoInfo& video);
// One part of a chunk, without its bytes. `size`: of all parts.
v1::Chunk ToProto(const Chunk& chunk, int part, int parts, int64_t size);
// Any event but a chunk, without resume token and without media.
v1::WatchVideoResponse ToProto(const Event& event);
v1::Model ToProto(const ModelInfo& model, const RequestLimits& limits);

// What has no meaning (a duration out of range, an unknown number of an enum) is added to `errors` under `path`, as in
// "spec".
VideoSpec FromProto(const v1::VideoSpec& spec, const std::string& path, std::vector<FieldError>& errors);
DeliveryOptions FromProto(const v1::DeliveryOptions& options, const std::string& path, std::vector<FieldError>& errors);
absl::Duration FromProto(const google::protobuf::Duration& duration, std::string path, std::vector<FieldError>& errors);
PromptChange FromProto(const v1::PromptChange& change, const std::string& path, std::vector<FieldError>& errors);

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_GRPC_TRANSLATE_H_
