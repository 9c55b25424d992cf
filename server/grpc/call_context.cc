#include "server/grpc/call_context.h"

#include <grpcpp/support/server_interceptor.h>

#include <algorithm>
#include <array>
#include <optional>

#include "absl/strings/match.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "server/video/video_name.h"

namespace longtake::server {
namespace {

class RecordedContext : public grpc::CallbackServerContext {
 public:
  explicit RecordedContext(const CallLog* its_log) : log(its_log) {}
  const CallLog* const log;
  CallRecord record;
  std::optional<Identity> caller;
  std::shared_ptr<void> on_connection;  // which is busy as long as this is there
};

// The value of this key; empty: the client has sent none.
absl::string_view MetadataOf(const grpc::CallbackServerContext& context, const char* key) {
  const auto found = context.client_metadata().find(key);
  if (found == context.client_metadata().end()) return {};
  return {found->second.data(), found->second.size()};
}

// Methods that programs call again and again, and that change nothing.
bool IsRoutine(absl::string_view method) {
  constexpr std::array<absl::string_view, 7> kRoutine = {
      "GetModel", "GetVideo", "ListModels", "ListVideos", "QuoteVideo", "ReportPlayback", "ServerReflectionInfo"};
  return std::find(kRoutine.begin(), kRoutine.end(), method.substr(method.rfind('/') + 1)) != kRoutine.end();
}

class CallTeller : public grpc::experimental::ServerInterceptorFactoryInterface {
 public:
  explicit CallTeller(Connections* connections) : connections_(connections) {}
  grpc::experimental::Interceptor* CreateServerInterceptor(grpc::experimental::ServerRpcInfo* call) override {
    auto* context = dynamic_cast<RecordedContext*>(call->server_context());
    if (context != nullptr) {
      const absl::string_view method = absl::StripPrefix(call->method(), "/");
      context->record.method = std::string(method);
      context->record.routine = IsRoutine(method);
      context->on_connection = connections_->BeginCall(context->peer());
    }
    return nullptr;
  }

 private:
  Connections* const connections_;
};

}  // namespace

CallRecord* RecordOf(grpc::CallbackServerContext* context) {
  auto* recorded = dynamic_cast<RecordedContext*>(context);
  return recorded == nullptr ? nullptr : &recorded->record;
}

CallRecord* BeginCall(grpc::CallbackServerContext* context) {
  auto* recorded = dynamic_cast<RecordedContext*>(context);
  if (recorded == nullptr) return nullptr;
  recorded->log->OnBegun(MetadataOf(*context, kRequestIdKey), MetadataOf(*context, kTraceparentKey), recorded->record);
  // An error with initial metadata is an answer for Envoy, which then does not ask the server that has the video.
  context->AddTrailingMetadata(kRequestIdKey, recorded->record.origin.request_id);
  return &recorded->record;
}

const Identity* CallerOf(const grpc::CallbackServerContext& context) {
  const auto* recorded = dynamic_cast<const RecordedContext*>(&context);
  return recorded != nullptr && recorded->caller.has_value() ? &*recorded->caller : nullptr;
}

void SetCaller(grpc::CallbackServerContext* context, const Identity& caller) {
  auto* recorded = dynamic_cast<RecordedContext*>(context);
  if (recorded == nullptr) return;
  recorded->record.tenant = caller.tenant.id;
  recorded->caller = caller;
}

void SetVideo(grpc::CallbackServerContext* context, const std::string& name) {
  CallRecord* record = RecordOf(context);
  if (record != nullptr && IsVideoName(name)) record->video = name;
}

CallContexts::~CallContexts() = default;

grpc::CallbackServerContext* CallContexts::NewCallbackServerContext() {
  auto made = std::make_unique<RecordedContext>(log_);
  grpc::CallbackServerContext* const context = made.get();
  const MutexLock lock(mutex_);
  contexts_.emplace(context, std::move(made));
  return context;
}

void CallContexts::Release(grpc::CallbackServerContext* context) {
  std::unique_ptr<grpc::CallbackServerContext> over;
  {
    const MutexLock lock(mutex_);
    const auto found = contexts_.find(context);
    if (found == contexts_.end()) return;  // gRPC's own, of a call to a method that nobody has
    over = std::move(found->second);
    contexts_.erase(found);
  }
  const CallRecord* record = RecordOf(context);
  if (!record->origin.request_id.empty()) log_->OnFinished(*record);
}

std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> CallContexts::Teller(Connections* connections) {
  return std::make_unique<CallTeller>(connections);
}

}  // namespace longtake::server
