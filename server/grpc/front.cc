#include "server/grpc/front.h"

#include <grpcpp/health_check_service_interface.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <utility>
#include <vector>

#include "common/status_macros.h"
#include "server/grpc/call_context.h"
#include "server/grpc/tls.h"

namespace longtake::server {
namespace {

// Above every limit of ours, so that what is too large is refused by the name of its field. The library's own answer,
// RESOURCE_EXHAUSTED, would look like a full queue.
constexpr int kMaxReceiveBytes = 16 << 20;

int Milliseconds(absl::Duration duration) {
  return static_cast<int>(std::clamp<int64_t>(absl::ToInt64Milliseconds(duration), 1, std::numeric_limits<int>::max()));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Front>> Front::Listen(const FrontOptions& options, const Authenticator* authenticator,
                                                     const KnownServers* servers, const ViewingLinks* links,
                                                     Quotas* quotas, Metrics* metrics, const CallLog* calls,
                                                     ConnectionTable* table, spdlog::logger* logger) {
  ASSIGN_OR_RETURN(const std::shared_ptr<grpc::ServerCredentials> credentials, MakeCredentials(options.tls));
  ASSIGN_OR_RETURN(std::unique_ptr<Peers> peers, Peers::Open(options.peers, options.tls));
  std::unique_ptr<Front> front(new Front(authenticator, servers, links, quotas, metrics, std::move(peers)));
  ASSIGN_OR_RETURN(front->acceptor_, Acceptor::Listen(options.listen, logger));
  ASSIGN_OR_RETURN(front->connections_, Connections::Start(table));
  front->Build(options, credentials, calls);
  if (front->grpc_ == nullptr) return absl::UnavailableError("listen: gRPC cannot start");
  return front;
}

void Front::Build(const FrontOptions& options, const std::shared_ptr<grpc::ServerCredentials>& credentials,
                  const CallLog* calls) {
  // Acts on every server built afterwards; there is one in a process.
  grpc::EnableDefaultHealthCheckService(true);
  grpc::ServerBuilder builder;
  entrance_ = builder.experimental().AddExternalConnectionAcceptor(
      grpc::ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD, credentials);
  builder.RegisterService(&videos_);
  builder.RegisterService(&models_);
  if (options.reflection) builder.RegisterService(&reflection_);
  builder.SetContextAllocator(std::make_unique<CallContexts>(calls));
  std::vector<std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>> interceptors;
  interceptors.push_back(CallContexts::Teller(connections_.get()));
  builder.experimental().SetInterceptorCreators(std::move(interceptors));
  builder.SetMaxReceiveMessageSize(kMaxReceiveBytes);
  const KeepaliveOptions& keepalive = options.keepalive;
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, Milliseconds(keepalive.interval));
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, Milliseconds(keepalive.timeout));
  // Connections without calls, too. By default gRPC pings those not at all, and lets clients ping once in two hours.
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  // By default pings end after the second without data between them: a client that waits would never be missed.
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
                             Milliseconds(keepalive.min_client_interval));
  grpc_ = builder.BuildAndStart();
}

Front::~Front() = default;

absl::Status Front::Accept() {
  return acceptor_->Start([this](int accepted) {
    return connections_->Add(accepted, [this](int descriptor) {
      grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters parameters;
      parameters.fd = descriptor;
      entrance_->HandleNewConnection(&parameters);
    });
  });
}

void Front::SetServing(const char* name, bool serving) {
  grpc_->GetHealthCheckService()->SetServingStatus(name, serving);
}

void Front::Close() {
  acceptor_->Stop();
  grpc_->Shutdown(std::chrono::system_clock::now());  // cancels what is left
  grpc_->Wait();
  studio_.AwaitNoCalls();
  studio_.Clear();
}

}  // namespace longtake::server
