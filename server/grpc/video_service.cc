#include "server/grpc/video_service.h"

#include <chrono>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/grpc/call_context.h"
#include "server/grpc/status.h"
#include "server/grpc/translate.h"
#include "server/grpc/wire.h"
#include "server/video/error.h"

namespace longtake::server {
namespace {

grpc::ServerUnaryReactor* Answer(grpc::CallbackServerContext* context, const absl::Status& status) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(ToGrpc(status, context));
  return reactor;
}

// Until the call's deadline; infinite without one.
absl::Duration DeadlineOf(const grpc::CallbackServerContext& context) {
  const auto deadline = context.deadline();
  if (deadline == std::chrono::system_clock::time_point::max()) return absl::InfiniteDuration();
  return absl::FromChrono(deadline - std::chrono::system_clock::now());
}

// A raw method's request. InvalidRequest: the bytes are not one.
template <typename Request>
absl::Status Parse(const grpc::ByteBuffer& bytes, Request& request) {
  grpc::ByteBuffer copy = bytes;  // parsing consumes it; its slices are shared
  if (grpc::SerializationTraits<Request>::Deserialize(&copy, &request).ok()) return absl::OkStatus();
  return InvalidRequest({{"request", "its bytes cannot be parsed"}});
}

// Of CreateVideo, GenerateVideo and ForkVideo.
constexpr Reason kRefusals[] = {
    Reason::kInvalidRequest, Reason::kModelLoading,     Reason::kShuttingDown,      Reason::kQueueFull,
    Reason::kWaitTooLong,    Reason::kDeadlineTooShort, Reason::kModelNotFound,     Reason::kRequestIdReused,
    Reason::kEncoderFailed,  Reason::kInternal,         Reason::kVideoNotFound,     Reason::kBlockNotMade,
    Reason::kBlockNotKept,   Reason::kOtherModel,       Reason::kStoreFailed,       Reason::kUnauthenticated,
    Reason::kQuotaExceeded,  Reason::kPolicyRefused,    Reason::kPolicyUnavailable, Reason::kOtherServer};

using Methods = v1::VideoService::StubInterface::async_interface;

void CheckViewer(const std::string& viewer_id, std::vector<FieldError>& errors) {
  if (auto error = CheckIdentifier("viewer_id", viewer_id); error.has_value()) errors.push_back(*std::move(error));
}

// Where a watch begins. `resume_token` is that of a video of this name, or the error names it.
absl::StatusOr<WatchOptions> FromProto(const v1::WatchVideoRequest& request) {
  std::vector<FieldError> errors;
  CheckViewer(request.viewer_id(), errors);
  WatchOptions options{.from_block = request.from_block(),
                       .live_edge = request.has_live_edge(),
                       .follow = !request.has_follow() || request.follow(),
                       .with_progress = !request.without_progress(),
                       .viewer_id = request.viewer_id()};
  if (request.start_case() == v1::WatchVideoRequest::kResumeToken) {
    options.resume = ParseResumeToken(request.name(), request.resume_token());
    if (!options.resume.has_value()) errors.push_back({"resume_token", "is not one of this video"});
  }
  if (!errors.empty()) return InvalidRequest(std::move(errors));
  return options;
}

}  // namespace

VideoService::VideoService(const Door* door, const ViewingLinks* links, Peers* peers, Metrics* metrics)
    : door_(door), links_(links), peers_(peers), metrics_(metrics) {
  std::vector<std::string> reasons;
  for (const Reason reason : kRefusals) reasons.push_back(LabelOf(reason));
  metrics_->SetRefusalReasons(reasons);
}

std::shared_ptr<WatchCall> VideoService::NewCall(grpc::CallbackServerContext* context,
                                                 const absl::StatusOr<Visit>& visit) {
  door_->AddCall();
  // The watch goes first: behind the last call the server may be gone.
  return WatchCall::Create(context, [this, watch = visit.ok() ? visit->watch : nullptr]() mutable {
    watch.reset();
    door_->RemoveCall();
  });
}

void VideoService::Count(const absl::Status& refusal) { metrics_->Refused(LabelOf(DetailsOf(refusal).reason)); }

grpc::ServerWriteReactor<grpc::ByteBuffer>* VideoService::GenerateVideo(grpc::CallbackServerContext* context,
                                                                        const grpc::ByteBuffer* bytes) {
  absl::StatusOr<Visit> visit = door_->EnterToWatch(*context);
  const std::shared_ptr<WatchCall> call = NewCall(context, visit);
  const auto refuse = [this, call](const absl::Status& why) {
    Count(why);
    call->Refuse(why);
  };
  v1::GenerateVideoRequest request;
  absl::Status status = visit.status();
  if (status.ok()) status = Parse(*bytes, request);
  if (!status.ok()) {
    refuse(status);
    return call.get();
  }
  CreateRequest create{.tenant = visit->tenant,
                       .origin = visit->origin,
                       .request_id = request.request_id(),
                       .default_disconnect = Disconnect::kCancel,
                       .deadline = DeadlineOf(*context)};
  create.spec = FromProto(request.spec(), "spec", create.errors);
  create.options = FromProto(request.delivery_options(), "delivery_options", create.errors);
  CheckViewer(request.viewer_id(), create.errors);
  const WatchOptions options{.with_progress = !request.without_progress(), .viewer_id = request.viewer_id()};
  visit->studio->Create(std::move(create),
                        [studio = visit->studio, call, options, refuse](absl::StatusOr<std::shared_ptr<Video>> video) {
                          if (!video.ok()) return refuse(video.status());
                          call->Open(studio, *video, options);
                        });
  return call.get();
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* VideoService::WatchVideo(grpc::CallbackServerContext* context,
                                                                     const grpc::ByteBuffer* bytes) {
  absl::StatusOr<Visit> visit = door_->EnterToWatch(*context);
  v1::WatchVideoRequest request;
  absl::Status status = visit.status();
  if (status.ok()) status = Parse(*bytes, request);
  std::shared_ptr<Video> video;
  if (status.ok()) {
    absl::StatusOr<std::shared_ptr<Video>> found = visit->studio->Find(visit->tenant, request.name());
    status = found.status();
    if (found.ok()) video = *std::move(found);
  }
  if (const std::optional<std::string> server = peers_->ServerOf(status, *context); server.has_value()) {
    door_->AddCall();
    return peers_->PassOnWatch(*server, context, *bytes, [this, watch = std::move(visit->watch)]() mutable {
      watch.reset();
      door_->RemoveCall();
    });
  }
  const std::shared_ptr<WatchCall> call = NewCall(context, visit);
  // An unknown name is told before a token that cannot be of it.
  const absl::StatusOr<WatchOptions> options = status.ok() ? FromProto(request) : absl::StatusOr<WatchOptions>(status);
  if (options.ok()) {
    call->Open(visit->studio, video, *options);
  } else {
    call->Refuse(options.status());
  }
  return call.get();
}

template <typename Request>
std::function<void(const absl::StatusOr<std::shared_ptr<Video>>&)> VideoService::AnswerCreated(
    Peers::Method<Request, v1::Video> method, grpc::CallbackServerContext* context, const Request* request,
    v1::Video* response, grpc::ServerUnaryReactor* reactor) {
  return [=, this](const absl::StatusOr<std::shared_ptr<Video>>& video) {
    if (!video.ok()) {
      Count(video.status());
      return peers_->PassOn(video.status(), method, context, request, response, reactor);
    }
    SetVideo(context, (*video)->name());
    *response = ToProto((*video)->info());
    reactor->Finish(ToGrpc(absl::OkStatus(), context));
  };
}

grpc::ServerUnaryReactor* VideoService::CreateVideo(grpc::CallbackServerContext* context,
                                                    const v1::CreateVideoRequest* request, v1::Video* response) {
  const absl::StatusOr<Visit> visit = door_->Enter(*context);
  if (!visit.ok()) {
    Count(visit.status());
    return Answer(context, visit.status());
  }
  CreateRequest create{.tenant = visit->tenant,
                       .origin = visit->origin,
                       .request_id = request->request_id(),
                       .default_disconnect = Disconnect::kContinue};
  create.spec = FromProto(request->spec(), "spec", create.errors);
  create.options = FromProto(request->delivery_options(), "delivery_options", create.errors);
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  visit->studio->Create(std::move(create), AnswerCreated(&Methods::CreateVideo, context, request, response, reactor));
  return reactor;
}

grpc::ServerUnaryReactor* VideoService::QuoteVideo(grpc::CallbackServerContext* context,
                                                   const v1::QuoteVideoRequest* request,
                                                   v1::QuoteVideoResponse* response) {
  const absl::StatusOr<Visit> visit = door_->Enter(*context);
  if (!visit.ok()) return Answer(context, visit.status());
  std::vector<FieldError> errors;
  const VideoSpec spec = FromProto(request->spec(), "spec", errors);
  const DeliveryOptions options = FromProto(request->delivery_options(), "delivery_options", errors);
  const absl::StatusOr<VideoPlan> plan = visit->studio->Check(spec, options, std::move(errors), Purpose::kQuote);
  if (!plan.ok()) return Answer(context, plan.status());
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  visit->studio->GetQuote(
      visit->tenant, *plan,
      [context, response, reactor, delivery = plan->options.delivery](const scheduler::Quote& quote) {
        if (!quote.status.ok() && !absl::IsResourceExhausted(quote.status)) {
          return reactor->Finish(ToGrpc(quote.status, context));
        }
        *response->mutable_quote() = ToProto(quote, delivery);
        if (!quote.status.ok()) {
          v1::Refusal& refusal = *response->mutable_refusal();
          refusal.set_reason(static_cast<v1::ErrorReason>(DetailsOf(quote.status).reason));
          *refusal.mutable_retry_delay() = ToProto(quote.retry_after);
        }
        reactor->Finish(ToGrpc(absl::OkStatus(), context));
      });
  return reactor;
}

grpc::ServerUnaryReactor* VideoService::ChangePrompt(grpc::CallbackServerContext* context,
                                                     const v1::ChangePromptRequest* request,
                                                     v1::ChangePromptResponse* response) {
  const absl::StatusOr<Visit> visit = door_->Enter(*context);
  if (!visit.ok()) return Answer(context, visit.status());
  SetVideo(context, request->name());
  std::vector<FieldError> errors;
  const PromptChange change = FromProto(request->change(), "change", errors);
  if (request->change().when_case() == v1::PromptChange::WHEN_NOT_SET) {
    errors.push_back({"change.when", "says neither at_offset nor next_block"});
  }
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  visit->studio->ChangePrompt(
      visit->tenant, request->name(), change, std::move(errors),
      [this, context, request, response, reactor](const absl::StatusOr<Studio::Receipt>& receipt) {
        if (!receipt.ok()) {
          return peers_->PassOn(receipt.status(), &Methods::ChangePrompt, context, request, response, reactor);
        }
        response->mutable_receipt()->set_prompt(receipt->prompt);
        response->mutable_receipt()->set_block(receipt->block);
        *response->mutable_receipt()->mutable_pts_offset() = ToProto(receipt->pts);
        reactor->Finish(ToGrpc(absl::OkStatus(), context));
      });
  return reactor;
}

grpc::ServerUnaryReactor* VideoService::GetVideo(grpc::CallbackServerContext* context,
                                                 const v1::GetVideoRequest* request, v1::Video* response) {
  const absl::StatusOr<Visit> visit = door_->Enter(*context);
  if (!visit.ok()) return Answer(context, visit.status());
  SetVideo(context, request->name());
  const absl::StatusOr<std::shared_ptr<Video>> video = visit->studio->Find(visit->tenant, request->name());
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  if (video.ok()) *response = ToProto((*video)->info());
  peers_->PassOn(video.status(), &Methods::GetVideo, context, request, response, reactor);
  return reactor;
}

grpc::ServerUnaryReactor* VideoService::ListVideos(grpc::CallbackServerContext* context,
                                                   const v1::ListVideosRequest* request,
                                                   v1::ListVideosResponse* response) {
  const absl::StatusOr<Visit> visit = door_->Enter(*context);
  if (!visit.ok()) return Answer(context, visit.status());
  const absl::StatusOr<VideoPage> page =
      visit->studio->List(visit->tenant, request->page_size(), request->page_token());
  if (page.ok()) {
    for (const VideoInfo& video : page->videos) *response->add_videos() = ToProto(video);
    response->set_next_page_token(page->next_token);
  }
  return Answer(context, page.status());
}

grpc::ServerUnaryReactor* VideoService::CancelVideo(grpc::CallbackServerContext* context,
                                                    const v1::CancelVideoRequest* request, v1::Video* response) {
  const absl::StatusOr<Visit> visit = door_->Enter(*context);
  if (!visit.ok()) return Answer(context, visit.status());
  SetVideo(context, request->name());
  const absl::StatusOr<std::shared_ptr<Video>> video = visit->studio->Cancel(visit->tenant, request->name());
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  if (video.ok()) *response = ToProto((*video)->info());
  peers_->PassOn(video.status(), &Methods::CancelVideo, context, request, response, reactor);
  return reactor;
}

grpc::ServerUnaryReactor* VideoService::DeleteVideo(grpc::CallbackServerContext* context,
                                                    const v1::DeleteVideoRequest* request,
                                                    google::protobuf::Empty* response) {
  const absl::StatusOr<Visit> visit = door_->Enter(*context);
  if (!visit.ok()) return Answer(context, visit.status());
  SetVideo(context, request->name());
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  visit->studio->Delete(visit->tenant, request->name(),
                        [this, context, request, response, reactor](const absl::Status& status) {
                          peers_->PassOn(status, &Methods::DeleteVideo, context, request, response, reactor);
                        });
  return reactor;
}

grpc::ServerUnaryReactor* VideoService::ForkVideo(grpc::CallbackServerContext* context,
                                                  const v1::ForkVideoRequest* request, v1::Video* response) {
  const absl::StatusOr<Visit> visit = door_->Enter(*context);
  if (!visit.ok()) {
    Count(visit.status());
    return Answer(context, visit.status());
  }
  ForkRequest fork{.tenant = visit->tenant, .origin = visit->origin, .request_id = request->request_id()};
  fork.fork.name = request->name();
  fork.fork.from_block = request->from_block();
  fork.fork.prompt = request->prompt();
  for (int i = 0; i < request->prompt_changes_size(); ++i) {
    fork.fork.prompt_changes.push_back(
        FromProto(request->prompt_changes(i), absl::StrCat("prompt_changes[", i, "]"), fork.errors));
  }
  if (request->has_duration()) fork.fork.duration = FromProto(request->duration(), "duration", fork.errors);
  fork.options = FromProto(request->delivery_options(), "delivery_options", fork.errors);
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  visit->studio->Fork(std::move(fork), AnswerCreated(&Methods::ForkVideo, context, request, response, reactor));
  return reactor;
}

grpc::ServerUnaryReactor* VideoService::CreateViewingLink(grpc::CallbackServerContext* context,
                                                          const v1::CreateViewingLinkRequest* request,
                                                          v1::CreateViewingLinkResponse* response) {
  const absl::StatusOr<Visit> visit = door_->Enter(*context);
  if (!visit.ok()) return Answer(context, visit.status());
  const absl::StatusOr<std::shared_ptr<Video>> video = visit->studio->Find(visit->tenant, request->name());
  if (!video.ok()) {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    peers_->PassOn(video.status(), &Methods::CreateViewingLink, context, request, response, reactor);
    return reactor;
  }
  std::vector<FieldError> errors;
  std::optional<absl::Duration> duration;
  if (request->has_duration()) duration = FromProto(request->duration(), "duration", errors);
  if (!errors.empty()) return Answer(context, InvalidRequest(std::move(errors)));
  const absl::StatusOr<ViewingLinks::Link> link = links_->Make(visit->tenant, (*video)->name(), duration);
  if (link.ok()) {
    response->set_link(link->text);
    *response->mutable_expire_time() = ToProto(link->expires);
  }
  return Answer(context, link.status());
}

grpc::ServerUnaryReactor* VideoService::ReportPlayback(grpc::CallbackServerContext* context,
                                                       const v1::ReportPlaybackRequest* request,
                                                       v1::ReportPlaybackResponse* response) {
  const absl::StatusOr<Visit> visit = door_->Enter(*context);
  if (!visit.ok()) return Answer(context, visit.status());
  SetVideo(context, request->name());
  std::vector<FieldError> errors;
  CheckViewer(request->viewer_id(), errors);
  const absl::Duration position = FromProto(request->position_offset(), "position_offset", errors);
  if (!request->has_position_offset()) {
    errors.push_back({"position_offset", "is missing"});
  } else if (position < absl::ZeroDuration()) {
    errors.push_back({"position_offset", absl::StrCat(absl::ToDoubleSeconds(position), " s is below 0")});
  }
  if (!errors.empty()) return Answer(context, InvalidRequest(std::move(errors)));
  const absl::StatusOr<absl::Duration> again =
      visit->studio->ReportPlayback(visit->tenant, request->name(), request->viewer_id(), position, request->paused());
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  if (again.ok()) *response->mutable_report_delay() = ToProto(*again);
  peers_->PassOn(again.status(), &Methods::ReportPlayback, context, request, response, reactor);
  return reactor;
}

}  // namespace longtake::server
