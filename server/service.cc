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
  const std::lock_guard lock(mutex_);
  studio_ = std::move(studio);
}

std::shared_ptr<Studio> Service::studio() const {
  const std::lock_guard lock(mutex_);
  return studio_;
}

bool Service::AwaitNoCalls(absl::Duration limit) {
  std::unique_lock lock(mutex_);
  const auto none = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return calls_ == 0; };
  constexpr absl::Duration kForever = absl::Hours(24 * 365);  // beyond it the sum with now may leave 64 bits
  if (limit < kForever) return call_ended_.wait_for(lock, absl::ToChronoNanoseconds(limit), none);
  call_ended_.wait(lock, none);
  return true;
}

grpc::ServerWriteReactor<v1::GenerateEvent>* Service::Generate(grpc::CallbackServerContext* context,
                                                               const v1::GenerateRequest* request) {
  std::shared_ptr<Studio> studio;
  {
    const std::lock_guard lock(mutex_);
    ++calls_;
    studio = studio_;
  }
  std::shared_ptr<GenerateCall> call = GenerateCall::Create(context, [this] {
    const std::lock_guard lock(mutex_);
    --calls_;
    call_ended_.notify_all();  // under the lock: who waits may destroy it next
  });
  const auto refuse = [&](const char* reason, grpc::Status status) {
    metrics_->Refused(reason);
    call->Refuse(std::move(status));
  };
  if (studio == nullptr) {
    refuse("unavailable", StillLoading());
    return call.get();
  }
  CheckedRequest checked = studio->Check(*request, Purpose::kGenerate);
  if (!checked.errors.empty()) {
    refuse("invalid", InvalidRequest(checked.errors));
    return call.get();
  }
  scheduler::Quote quote;
  const absl::StatusOr<uint64_t> id = studio->Begin(std::move(checked.plan), call, &quote);
  if (id.ok()) {
    call->Open([studio, id = *id] { studio->Abandon(id); });
  } else if (absl::IsResourceExhausted(id.status())) {
    v1::Refusal refusal;
    *refusal.mutable_quote() = Describe(quote);
    const bool full = quote.waiting >= studio->options().max_waiting;
    refusal.set_reason(full ? v1::Refusal::REASON_QUEUE_FULL : v1::Refusal::REASON_LONG_WAIT);
    refuse(full ? "queue_full" : "long_wait", NoPlace(std::string(id.status().message()), refusal));
  } else {
    refuse("unavailable", NotNow(std::string(id.status().message()), kShutdownRetry));
  }
  return call.get();
}

grpc::ServerUnaryReactor* Service::Quote(grpc::CallbackServerContext* context, const v1::GenerateRequest* request,
                                         v1::Quote* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  const std::shared_ptr<Studio> now = studio();
  if (now == nullptr) {
    reactor->Finish(StillLoading());
    return reactor;
  }
  const CheckedRequest checked = now->Check(*request, Purpose::kQuote);
  if (!checked.errors.empty()) {
    reactor->Finish(InvalidRequest(checked.errors));
    return reactor;
  }
  const scheduler::Quote quote = now->GetQuote(checked.plan);
  if (quote.status.ok() || absl::IsResourceExhausted(quote.status)) {
    *response = Describe(quote);
    reactor->Finish(grpc::Status::OK);
  } else {
    reactor->Finish(NotNow(std::string(quote.status.message()), kShutdownRetry));
  }
  return reactor;
}

grpc::ServerUnaryReactor* Service::ChangePrompt(grpc::CallbackServerContext* context,
                                                const v1::ChangePromptRequest* request,
                                                v1::ChangePromptResponse* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  const std::shared_ptr<Studio> now = studio();
  if (now == nullptr) {
    reactor->Finish(StillLoading());
    return reactor;
  }
  std::vector<FieldError> errors;
  const absl::StatusOr<v1::PromptChanged> receipt =
      now->ChangePrompt(request->id(), request->tenant(), request->change(), errors);
  if (receipt.ok()) {
    *response->mutable_receipt() = *receipt;
    reactor->Finish(grpc::Status::OK);
  } else {
    reactor->Finish(errors.empty() ? ToGrpc(receipt.status()) : InvalidRequest(errors));
  }
  return reactor;
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
