#include "server/service.h"

#include <utility>

#include "server/generate_call.h"
#include "server/refusal.h"

namespace longtake::server {
namespace {

// Loading takes seconds to a minute; asking once a second costs nothing.
constexpr absl::Duration kLoadingRetry = absl::Seconds(1);
// By then another instance answers, or this one is back.
constexpr absl::Duration kShutdownRetry = absl::Seconds(5);

grpc::Status StillLoading() { return NotNow("the model is still loading", kLoadingRetry); }

}  // namespace

void Service::SetStudio(std::shared_ptr<Studio> studio) {
  absl::MutexLock lock(&mutex_);
  studio_ = std::move(studio);
}

std::shared_ptr<Studio> Service::studio() const {
  absl::MutexLock lock(&mutex_);
  return studio_;
}

bool Service::AwaitNoCalls(absl::Duration limit) {
  absl::MutexLock lock(&mutex_);
  const auto none = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return calls_ == 0; };
  return mutex_.AwaitWithTimeout(absl::Condition(&none), limit);
}

grpc::ServerWriteReactor<v1::GenerateEvent>* Service::Generate(grpc::CallbackServerContext*,
                                                               const v1::GenerateRequest* request) {
  std::shared_ptr<Studio> studio;
  {
    absl::MutexLock lock(&mutex_);
    ++calls_;
    studio = studio_;
  }
  std::shared_ptr<GenerateCall> call = GenerateCall::Create([this] {
    absl::MutexLock lock(&mutex_);
    --calls_;
  });
  const auto refuse = [&](const char* reason, grpc::Status status) {
    metrics_->Refused(reason);
    call->Refuse(std::move(status));
  };
  if (studio == nullptr) {
    refuse("unavailable", StillLoading());
    return call.get();
  }
  CheckedRequest checked = studio->Check(*request);
  if (!checked.errors.empty()) {
    refuse("invalid", InvalidRequest(checked.errors));
    return call.get();
  }
  const absl::StatusOr<uint64_t> id = studio->Begin(std::move(checked.plan), call);
  if (id.ok()) {
    call->Open([studio, id = *id] { studio->Abandon(id); });
  } else if (absl::IsResourceExhausted(id.status())) {
    refuse("queue_full", QueueFull(std::string(id.status().message()), studio->stats().next_place));
  } else {
    refuse("unavailable", NotNow(std::string(id.status().message()), kShutdownRetry));
  }
  return call.get();
}

grpc::ServerUnaryReactor* Service::ListModels(grpc::CallbackServerContext* context, const v1::ListModelsRequest*,
                                              v1::ListModelsResponse* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  const std::shared_ptr<Studio> now = studio();
  if (now == nullptr) {
    reactor->Finish(StillLoading());
  } else {
    *response->add_models() = now->model();
    reactor->Finish(grpc::Status::OK);
  }
  return reactor;
}

}  // namespace longtake::server
