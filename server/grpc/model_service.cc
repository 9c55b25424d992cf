#include "server/grpc/model_service.h"

#include "server/grpc/status.h"
#include "server/grpc/translate.h"
#include "server/video/error.h"

namespace longtake::server {

grpc::ServerUnaryReactor* ModelService::GetModel(grpc::CallbackServerContext* context,
                                                 const v1::GetModelRequest* request, v1::Model* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  const absl::StatusOr<Visit> visit = door_->Enter(*context);
  absl::Status status = visit.status();
  if (status.ok() && request->name() != ModelName(visit->studio->model())) {
    status = NotFound(Reason::kModelNotFound, request->name());
  }
  if (status.ok()) *response = ToProto(visit->studio->model(), visit->studio->options().limits);
  reactor->Finish(ToGrpc(status, context));
  return reactor;
}

grpc::ServerUnaryReactor* ModelService::ListModels(grpc::CallbackServerContext* context,
                                                   const v1::ListModelsRequest* request,
                                                   v1::ListModelsResponse* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  const absl::StatusOr<Visit> visit = door_->Enter(*context);
  absl::Status status = visit.status();
  // There is one model, and so one page.
  if (status.ok() && request->page_size() < 0) status = InvalidRequest({{"page_size", "is below 0"}});
  if (status.ok() && !request->page_token().empty()) {
    status = InvalidRequest({{"page_token", "is not one that this server gave"}});
  }
  if (status.ok()) *response->add_models() = ToProto(visit->studio->model(), visit->studio->options().limits);
  reactor->Finish(ToGrpc(status, context));
  return reactor;
}

}  // namespace longtake::server
