#include "server/policy/remote_judge.h"

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <set>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/mutex.h"
#include "common/status_macros.h"
#include "longtake/policy/v1/policy_service.grpc.pb.h"
#include "server/access/watched_file.h"
#include "server/grpc/translate.h"

namespace longtake::server {
namespace {

namespace policy = longtake::policy::v1;

// A question that meets a service which is being restarted waits for it, within its timeout, and is asked again where
// the connection breaks: asking changes nothing.
constexpr char kServiceConfig[] = R"({"methodConfig": [{
  "name": [{"service": "longtake.policy.v1.PolicyService"}],
  "waitForReady": true,
  "retryPolicy": {"maxAttempts": 3, "initialBackoff": "0.05s", "maxBackoff": "0.5s", "backoffMultiplier": 2,
                  "retryableStatusCodes": ["UNAVAILABLE"]}}]})";
// By default gRPC tries less and less often, until once in two minutes.
constexpr int kMaxReconnectMs = 1000;

policy::Purpose ToProto(PolicyPurpose purpose) {
  switch (purpose) {
    case PolicyPurpose::kCreate:
      return policy::PURPOSE_CREATE;
    case PolicyPurpose::kFork:
      return policy::PURPOSE_FORK;
    case PolicyPurpose::kChangePrompt:
      return policy::PURPOSE_CHANGE_PROMPT;
  }
  return policy::PURPOSE_UNSPECIFIED;
}

// The service's own message is left out: it may repeat the prompt, and this one is logged.
absl::StatusOr<Verdict> VerdictOf(const grpc::Status& status, const policy::CheckVideoResponse& response) {
  if (!status.ok()) {
    return absl::UnavailableError(absl::StrCat(
        "the call fails as ", absl::StatusCodeToString(static_cast<absl::StatusCode>(status.error_code()))));
  }
  if (response.decision() == policy::DECISION_ALLOW) return Verdict{.allowed = true};
  if (response.decision() != policy::DECISION_REFUSE) return absl::UnavailableError("the answer has no decision");
  return Verdict{.category = response.category(), .message = response.message()};
}

class RemoteJudge : public Judge {
 public:
  RemoteJudge(const std::shared_ptr<grpc::Channel>& channel, absl::Duration timeout)
      : timeout_(timeout), stub_(policy::PolicyService::NewStub(channel)) {}

  void Ask(PolicyQuestion question, Done done) override {
    const auto call = std::make_shared<Call>();
    call->request.set_tenant(question.tenant.id);
    call->request.set_purpose(ToProto(question.purpose));
    *call->request.mutable_spec() = server::ToProto(question.spec);
    call->request.mutable_spec()->set_first_image(question.spec.first_image);
    call->request.set_video(question.video);
    call->context.set_deadline(std::chrono::system_clock::now() + absl::ToChronoMicroseconds(timeout_));
    {
      const MutexLock lock(mutex_);
      calls_.insert(call);
      if (cancelled_) call->context.TryCancel();
    }
    stub_->async()->CheckVideo(&call->context, &call->request, &call->response,
                               [this, call, done = std::move(done)](const grpc::Status& status) {
                                 {
                                   const MutexLock lock(mutex_);
                                   calls_.erase(call);
                                 }
                                 done(VerdictOf(status, call->response));  // the last use of this: the judge may go
                               });
  }

  void Cancel() override {
    const MutexLock lock(mutex_);
    cancelled_ = true;
    for (const std::shared_ptr<Call>& call : calls_) call->context.TryCancel();
  }

 private:
  struct Call {
    grpc::ClientContext context;
    policy::CheckVideoRequest request;
    policy::CheckVideoResponse response;
  };

  const absl::Duration timeout_;
  const std::unique_ptr<policy::PolicyService::Stub> stub_;
  Mutex mutex_;
  std::set<std::shared_ptr<Call>> calls_ ABSL_GUARDED_BY(mutex_);  // under way
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
};

bool StaysHere(const std::string& address) {
  for (const char* here : {"unix:", "unix-abstract:", "localhost:", "127.0.0.1:", "[::1]:"}) {
    if (absl::StartsWith(address, here)) return true;
  }
  return false;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Judge>> OpenRemoteJudge(const PolicyOptions& options, spdlog::logger* logger) {
  if (options.timeout <= absl::ZeroDuration())
    return absl::InvalidArgumentError("policy-timeout-seconds: is not above 0");
  std::shared_ptr<grpc::ChannelCredentials> credentials = grpc::InsecureChannelCredentials();
  if (!options.authorities.empty()) {
    ASSIGN_OR_RETURN(std::string authorities, ReadFile(options.authorities));
    credentials = grpc::SslCredentials({.pem_root_certs = std::move(authorities)});
  } else if (!StaysHere(options.service)) {
    logger->warn("the connection to the policy's service is not encrypted: whoever can read it can read prompts");
  }
  grpc::ChannelArguments arguments;
  arguments.SetServiceConfigJSON(kServiceConfig);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, kMaxReconnectMs);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, kMaxReconnectMs / 10);
  // Prompts go to the address that the operator named, and through nothing that a variable of the environment names.
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  return std::make_unique<RemoteJudge>(grpc::CreateCustomChannel(options.service, credentials, arguments),
                                       options.timeout);
}

}  // namespace longtake::server
