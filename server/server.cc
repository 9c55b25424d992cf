#include "server/server.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/grpc/model_service.h"
#include "server/grpc/video_service.h"
#include "server/grpc/wire.h"
#include "server/video/error.h"
#include "spdlog/logger.h"

namespace longtake::server {
namespace {

constexpr const char* kServices[] = {"longtake.v1.VideoService", "longtake.v1.ModelService"};
// By then another instance answers, or this one is back.
constexpr absl::Duration kShutdownRetry = absl::Seconds(5);
// Above every limit of ours, so that what is too large is refused by the name of its field. The library's own answer,
// RESOURCE_EXHAUSTED, would look like a full queue.
constexpr int kMaxReceiveBytes = 16 << 20;
// A client that has vanished without closing its connection is noticed within about half a minute.
constexpr int kKeepaliveMs = 20'000, kKeepaliveTimeoutMs = 10'000;

}  // namespace

struct Server::Impl {
  ServerOptions options;
  spdlog::logger* logger = nullptr;
  MonotonicClock clock;
  Metrics metrics;
  StudioSlot studio;
  VideoService videos{&studio, &metrics};
  ModelService models{&studio};
  int port = 0, metrics_port = 0;
  bool drained = false;
  std::unique_ptr<grpc::Server> grpc;

  void SetHealth(bool serving) {
    grpc->GetHealthCheckService()->SetServingStatus(serving);
    for (const char* service : kServices) grpc->GetHealthCheckService()->SetServingStatus(service, serving);
  }
  void Drain(absl::Duration limit, absl::Duration flush);
};

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

absl::StatusOr<std::unique_ptr<Server>> Server::Start(const ServerOptions& options, spdlog::logger* logger) {
  auto impl = std::make_unique<Impl>();
  impl->options = options;
  impl->logger = logger;
  if (!options.metrics_listen.empty()) {
    absl::StatusOr<int> port = impl->metrics.Listen(options.metrics_listen);
    if (!port.ok()) return port.status();
    impl->metrics_port = *port;
  }
  // Both act on every server built afterwards; there is one in a process.
  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  grpc::ServerBuilder builder;
  builder.AddListeningPort(options.listen, grpc::InsecureServerCredentials(), &impl->port);
  builder.RegisterService(&impl->videos);
  builder.RegisterService(&impl->models);
  builder.SetMaxReceiveMessageSize(kMaxReceiveBytes);
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);  // a second server on the port is an error, not a lottery
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
  impl->grpc = builder.BuildAndStart();
  if (impl->grpc == nullptr || impl->port == 0) {
    return absl::UnavailableError(absl::StrCat("listen: cannot listen on ", options.listen));
  }
  impl->SetHealth(false);
  logger->info("listening address={} port={} metrics_port={}", options.listen, impl->port, impl->metrics_port);
  return std::unique_ptr<Server>(new Server(std::move(impl)));
}

void Server::Serve(std::unique_ptr<Engine> engine) {
  const StudioOptions& options = impl_->options.studio;
  const ModelInfo& model = engine->model();
  impl_->logger->info("serving model={} sampler={} numerics_id={} sessions={}", model.name, model.sampler,
                      model.numerics_id, options.max_sessions);
  impl_->studio.Set(std::make_shared<Studio>(
      options, std::move(engine),
      [bytes = options.max_part_bytes](const std::string& name) { return WireSerializer(name, bytes); },
      impl_->options.clock != nullptr ? impl_->options.clock : &impl_->clock, &impl_->metrics, impl_->logger));
  impl_->SetHealth(true);
}

void Server::Drain() { impl_->Drain(impl_->options.drain, impl_->options.flush); }

void Server::Impl::Drain(absl::Duration limit, absl::Duration flush) {
  if (std::exchange(drained, true)) return;
  const absl::Status down = MakeError(absl::StatusCode::kUnavailable, "the server is shutting down",
                                      {.reason = Reason::kShuttingDown, .retry_delay = kShutdownRetry});
  SetHealth(false);
  const absl::StatusOr<std::shared_ptr<Studio>> made = studio.Get();
  logger->info("draining seconds={:.1f}", absl::ToDoubleSeconds(limit));
  if (made.ok()) {
    (*made)->StopAdmission(down);
    const absl::Time until = absl::Now() + limit;
    if (!(*made)->AwaitNoSessions(limit) || !studio.AwaitNoCalls(until - absl::Now())) {
      (*made)->EndAll(down);
      if (!studio.AwaitNoCalls(flush)) logger->warn("clients have not read everything in time");
    }
  }
  grpc->Shutdown(std::chrono::system_clock::now());  // cancels what is left
  grpc->Wait();
  studio.AwaitNoCalls(absl::InfiniteDuration());
  studio.Set(nullptr);
  logger->info("drained");
}

Server::~Server() { impl_->Drain(absl::ZeroDuration(), absl::ZeroDuration()); }

int Server::port() const { return impl_->port; }
int Server::metrics_port() const { return impl_->metrics_port; }
std::string Server::MetricsText() const { return impl_->metrics.Text(); }

}  // namespace longtake::server
