#include "server/video_service.h"

#include <chrono>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "server/error.h"
#include "server/generate_call.h"
#include "server/status.h"
#include "server/translate.h"

namespace longtake::server {
namespace {

grpc::ServerUnaryReactor* Answer(grpc::CallbackServerContext* context, const absl::Status& status) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(ToGrpc(status, context));
  return reactor;
}

absl::Status NotImplemented(const char* method) {
  return MakeError(absl::StatusCode::kUnimplemented, absl::StrCat(method, " is not implemented yet"),
                   {.reason = Reason::kNotImplemented});
}

// Until the call's deadline; infinite without one.
absl::Duration DeadlineOf(const grpc::CallbackServerContext& context) {
  const auto deadline = context.deadline();
  if (deadline == std::chrono::system_clock::time_point::max()) return absl::InfiniteDuration();
  return absl::FromChrono(deadline - std::chrono::system_clock::now());
}

}  // namespace

grpc::ServerWriteReactor<v1::WatchVideoResponse>* VideoService::GenerateVideo(grpc::CallbackServerContext* context,
                                                                              const v1::GenerateVideoRequest* request) {
  studio_->AddCall();
  std::shared_ptr<GenerateCall> call = GenerateCall::Create(context, [this] { studio_->RemoveCall(); });
  const auto refuse = [&](const absl::Status& why) {
    metrics_->Refused(absl::AsciiStrToLower(NameOf(DetailsOf(why).reason)));
    call->Refuse(why);
    return call.get();
  };
  const absl::StatusOr<std::shared_ptr<Studio>> studio = studio_->Get();
  if (!studio.ok()) return refuse(studio.status());
  std::vector<FieldError> errors;
  const VideoSpec spec = FromProto(request->spec(), "spec", errors);
  const DeliveryOptions options = FromProto(request->delivery_options(), "delivery_options", errors);
  absl::StatusOr<VideoPlan> plan = (*studio)->Check(spec, options, std::move(errors), Purpose::kMake);
  if (!plan.ok()) return refuse(plan.status());
  if (options.disconnect.value_or(Disconnect::kCancel) != Disconnect::kCancel || !request->request_id().empty()) {
    return refuse(NotImplemented("a video that outlives its call"));
  }
  if (request->without_progress()) call->LeaveOutProgress();
  const absl::StatusOr<std::string> name =
      (*studio)->Begin(*std::move(plan), request->request_id(), DeadlineOf(*context), call);
  if (!name.ok()) return refuse(name.status());
  call->Open([studio = *studio, name = *name] { studio->Abandon(name); });
  return call.get();
}

grpc::ServerUnaryReactor* VideoService::QuoteVideo(grpc::CallbackServerContext* context,
                                                   const v1::QuoteVideoRequest* request,
                                                   v1::QuoteVideoResponse* response) {
  const absl::StatusOr<std::shared_ptr<Studio>> studio = studio_->Get();
  if (!studio.ok()) return Answer(context, studio.status());
  std::vector<FieldError> errors;
  const VideoSpec spec = FromProto(request->spec(), "spec", errors);
  const DeliveryOptions options = FromProto(request->delivery_options(), "delivery_options", errors);
  const absl::StatusOr<VideoPlan> plan = (*studio)->Check(spec, options, std::move(errors), Purpose::kQuote);
  if (!plan.ok()) return Answer(context, plan.status());
  const scheduler::Quote quote = (*studio)->GetQuote(*plan);
  if (!quote.status.ok() && !absl::IsResourceExhausted(quote.status)) return Answer(context, quote.status);
  *response->mutable_quote() = ToProto(quote, plan->options.delivery);
  if (!quote.status.ok()) {
    v1::Refusal& refusal = *response->mutable_refusal();
    refusal.set_reason(static_cast<v1::ErrorReason>(DetailsOf(quote.status).reason));
    *refusal.mutable_retry_delay() = ToProto(quote.retry_after);
  }
  return Answer(context, absl::OkStatus());
}

grpc::ServerUnaryReactor* VideoService::ChangePrompt(grpc::CallbackServerContext* context,
                                                     const v1::ChangePromptRequest* request,
                                                     v1::ChangePromptResponse* response) {
  const absl::StatusOr<std::shared_ptr<Studio>> studio = studio_->Get();
  if (!studio.ok()) return Answer(context, studio.status());
  std::vector<FieldError> errors;
  const PromptChange change = FromProto(request->change(), "change", errors);
  if (request->change().when_case() == v1::PromptChange::WHEN_NOT_SET) {
    errors.push_back({"change.when", "says neither at_offset nor next_block"});
  }
  const absl::StatusOr<Studio::Receipt> receipt = (*studio)->ChangePrompt(request->name(), change, std::move(errors));
  if (!receipt.ok()) return Answer(context, receipt.status());
  response->mutable_receipt()->set_prompt(receipt->prompt);
  response->mutable_receipt()->set_block(receipt->block);
  *response->mutable_receipt()->mutable_pts_offset() = ToProto(receipt->pts);
  return Answer(context, absl::OkStatus());
}

grpc::ServerUnaryReactor* VideoService::CreateVideo(grpc::CallbackServerContext* context, const v1::CreateVideoRequest*,
                                                    v1::Video*) {
  return Answer(context, NotImplemented("CreateVideo"));
}

grpc::ServerWriteReactor<v1::WatchVideoResponse>* VideoService::WatchVideo(grpc::CallbackServerContext* context,
                                                                           const v1::WatchVideoRequest*) {
  studio_->AddCall();
  std::shared_ptr<GenerateCall> call = GenerateCall::Create(context, [this] { studio_->RemoveCall(); });
  call->Refuse(NotImplemented("WatchVideo"));
  return call.get();
}

grpc::ServerUnaryReactor* VideoService::GetVideo(grpc::CallbackServerContext* context, const v1::GetVideoRequest*,
                                                 v1::Video*) {
  return Answer(context, NotImplemented("GetVideo"));
}

grpc::ServerUnaryReactor* VideoService::ListVideos(grpc::CallbackServerContext* context, const v1::ListVideosRequest*,
                                                   v1::ListVideosResponse*) {
  return Answer(context, NotImplemented("ListVideos"));
}

grpc::ServerUnaryReactor* VideoService::CancelVideo(grpc::CallbackServerContext* context, const v1::CancelVideoRequest*,
                                                    v1::Video*) {
  return Answer(context, NotImplemented("CancelVideo"));
}

grpc::ServerUnaryReactor* VideoService::DeleteVideo(grpc::CallbackServerContext* context, const v1::DeleteVideoRequest*,
                                                    google::protobuf::Empty*) {
  return Answer(context, NotImplemented("DeleteVideo"));
}

grpc::ServerUnaryReactor* VideoService::ForkVideo(grpc::CallbackServerContext* context, const v1::ForkVideoRequest*,
                                                  v1::Video*) {
  return Answer(context, NotImplemented("ForkVideo"));
}

grpc::ServerUnaryReactor* VideoService::ReportPlayback(grpc::CallbackServerContext* context,
                                                       const v1::ReportPlaybackRequest*, v1::ReportPlaybackResponse*) {
  return Answer(context, NotImplemented("ReportPlayback"));
}

}  // namespace longtake::server
