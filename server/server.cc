#include "server/server.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>

#include <algorithm>
#include <limits>
#include <map>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "common/mutex.h"
#include "common/thread.h"
#include "server/grpc/model_service.h"
#include "server/grpc/video_service.h"
#include "server/grpc/wire.h"
#include "server/http/http_server.h"
#include "server/listen/acceptor.h"
#include "server/video/error.h"
#include "spdlog/logger.h"

namespace longtake::server {
namespace {

// Names that gRPC's health service knows, beside "": that is the one that a liveness probe without a name asks for.
constexpr const char* kLiveness[] = {"", "liveness"};
constexpr const char* kReadiness[] = {"readiness", "longtake.v1.VideoService", "longtake.v1.ModelService"};
constexpr const char* kStartup[] = {"startup"};
// By then another instance answers, or this one is back.
constexpr absl::Duration kShutdownRetry = absl::Seconds(5);
// Above every limit of ours, so that what is too large is refused by the name of its field. The library's own answer,
// RESOURCE_EXHAUSTED, would look like a full queue.
constexpr int kMaxReceiveBytes = 16 << 20;
// The device's health and, in a shutdown, whether anything still runs are looked at so often.
constexpr absl::Duration kLookEvery = absl::Milliseconds(200), kLookEveryAtTheEnd = absl::Milliseconds(10);

int Milliseconds(absl::Duration duration) {
  return static_cast<int>(std::clamp<int64_t>(absl::ToInt64Milliseconds(duration), 1, std::numeric_limits<int>::max()));
}

const char* YesNo(bool value) { return value ? "yes" : "no"; }

int PortOf(const std::unique_ptr<HttpServer>& server) { return server == nullptr ? 0 : server->port(); }

// The error with the option that it comes of.
absl::Status Named(const char* option, const absl::Status& error) {
  return {error.code(), absl::StrCat(option, ": ", error.message())};
}

HttpAnswer ProbeAnswer(bool yes, const char* what) {
  return {.status = yes ? 200 : 503, .body = absl::StrCat(yes ? "" : "not ", what, "\n")};
}

}  // namespace

struct Server::Impl : Lifecycle::Actions {
  Impl(const ServerOptions& given, spdlog::logger* log)
      : options(given),
        logger(log),
        clock(given.clock != nullptr ? given.clock : &own_clock),
        lifecycle(given.lifecycle, clock, this) {}
  ~Impl() override;

  absl::Status Start();
  absl::Status ListenForMetrics();
  absl::Status ListenForVideos();
  std::unique_ptr<grpc::Server> BuildGrpc();
  void Serve(std::unique_ptr<Engine> engine);
  void Run();  // thread's
  Lifecycle::Observed Observe();
  void Close();

  void Publish(const Lifecycle::Probes& now) override;
  void RefuseWork(Lifecycle::Refusal why) override;
  void EndVideos() override;

  Lifecycle::Probes Now() {
    const MutexLock lock(mutex);
    return probes;
  }
  // Lets Run look at once.
  void Look();

  const ServerOptions options;
  spdlog::logger* const logger;
  const MonotonicClock own_clock;
  const Clock* const clock;
  Metrics metrics;
  std::unique_ptr<Store> store;  // outlives the studio
  StudioSlot studio;
  VideoService videos{&studio, &metrics};
  ModelService models{&studio};
  Routes routes{options.http, &studio, &metrics, [this] { return Now().ready; }};
  Lifecycle lifecycle;
  std::unique_ptr<Acceptor> acceptor;
  std::string device_reason;  // what Run said last about the device; empty: it works

  Mutex mutex;
  ConditionVariable changed;
  Lifecycle::Probes probes ABSL_GUARDED_BY(mutex);
  bool look ABSL_GUARDED_BY(mutex) = false;
  bool stopped ABSL_GUARDED_BY(mutex) = false;

  std::unique_ptr<HttpServer> metrics_http, http;  // what they answer reads the above
  std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> connections;
  std::unique_ptr<grpc::Server> grpc;
  std::thread thread;
};

absl::Status Server::Impl::ListenForMetrics() {
  const std::map<std::string, std::function<HttpAnswer()>> pages = {
      {"/metrics",
       [this] {
         return HttpAnswer{.content_type = "text/plain; version=0.0.4; charset=utf-8", .body = metrics.Text()};
       }},
      {"/livez", [this] { return ProbeAnswer(Now().live, "live"); }},
      {"/readyz", [this] { return ProbeAnswer(Now().ready, "ready"); }},
      {"/startupz", [this] { return ProbeAnswer(Now().started, "started"); }}};
  const HttpHandler handler = [pages](const HttpRequest& request, const std::shared_ptr<HttpResponder>& responder) {
    const auto page = pages.find(request.path);
    if (page == pages.end()) return responder->Answer({.status = 404, .body = "not found\n"});
    if (request.method != "GET") return responder->Answer({.status = 405, .headers = {{"Allow", "GET"}}});
    HttpAnswer answer = page->second();
    answer.headers.emplace_back("Cache-Control", "no-store");
    responder->Answer(std::move(answer));
  };
  absl::StatusOr<std::unique_ptr<HttpServer>> made =
      HttpServer::Start(options.metrics_listen, handler, {.connections = 256}, logger);
  if (!made.ok()) return Named("metrics_listen", made.status());
  metrics_http = *std::move(made);
  return absl::OkStatus();
}

absl::Status Server::Impl::ListenForVideos() {
  absl::StatusOr<std::unique_ptr<HttpServer>> made = HttpServer::Start(
      options.http_listen,
      [this](const HttpRequest& request, std::shared_ptr<HttpResponder> responder) {
        routes.Handle(request, std::move(responder));
      },
      {}, logger);
  if (!made.ok()) return Named("http_listen", made.status());
  http = *std::move(made);
  return absl::OkStatus();
}

std::unique_ptr<grpc::Server> Server::Impl::BuildGrpc() {
  // Both act on every server built afterwards; there is one in a process.
  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  grpc::ServerBuilder builder;
  connections = builder.experimental().AddExternalConnectionAcceptor(
      grpc::ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD, grpc::InsecureServerCredentials());
  builder.RegisterService(&videos);
  builder.RegisterService(&models);
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
  return builder.BuildAndStart();
}

absl::Status Server::Impl::Start() {
  if (!options.store.empty()) {
    absl::StatusOr<std::unique_ptr<Store>> opened = OpenDirectoryStore(options.store);
    if (!opened.ok()) return opened.status();
    store = *std::move(opened);
  }
  if (!options.metrics_listen.empty()) {
    if (absl::Status status = ListenForMetrics(); !status.ok()) return status;
  }
  if (!options.http_listen.empty()) {
    if (absl::Status status = ListenForVideos(); !status.ok()) return status;
  }
  absl::StatusOr<std::unique_ptr<Acceptor>> listening = Acceptor::Listen(options.listen, logger);
  if (!listening.ok()) return listening.status();
  acceptor = *std::move(listening);
  grpc = BuildGrpc();
  if (grpc == nullptr) return absl::UnavailableError("listen: gRPC cannot start");
  logger->info("listening address={} port={} metrics_port={} http_port={}", options.listen, acceptor->port(),
               PortOf(metrics_http), PortOf(http));
  lifecycle.Advance({});
  absl::Status accepting = acceptor->Start([this](int descriptor) {
    grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters parameters;
    parameters.fd = descriptor;
    connections->HandleNewConnection(&parameters);
  });
  if (!accepting.ok()) return accepting;
  absl::StatusOr<std::thread> started = StartThread("lifecycle", [this] { Run(); });
  if (!started.ok()) return started.status();
  thread = *std::move(started);
  return absl::OkStatus();
}

Server::Impl::~Impl() {
  lifecycle.StopNow();
  Look();
  if (thread.joinable()) {
    thread.join();
  } else if (grpc != nullptr) {
    Close();
  }
}

void Server::Impl::Look() {
  {
    const MutexLock lock(mutex);
    look = true;
  }
  changed.NotifyAll();
}

Lifecycle::Observed Server::Impl::Observe() {
  const absl::StatusOr<std::shared_ptr<Studio>> made = studio.Get();
  if (!made.ok()) return {.busy = studio.has_calls()};
  const DeviceHealth device = (*made)->device_health();
  if (device.state != DeviceHealth::State::kWorks && device_reason.empty()) logger->error("{}", device.reason);
  if (device.state == DeviceHealth::State::kWorks && !device_reason.empty()) logger->info("the device works again");
  device_reason = device.reason;
  return {.device_stuck = device.state == DeviceHealth::State::kStuck,
          .device_lost = device.state == DeviceHealth::State::kLost,
          .busy = (*made)->has_sessions() || studio.has_calls()};
}

void Server::Impl::Run() {
  while (true) {
    const absl::Duration next = lifecycle.Advance(Observe()) - clock->Now();
    const Lifecycle::Phase phase = lifecycle.phase();
    if (phase == Lifecycle::Phase::kEnded) break;
    const bool ending = phase != Lifecycle::Phase::kLoading && phase != Lifecycle::Phase::kServing;
    const absl::Duration wait = std::clamp(next, absl::ZeroDuration(), ending ? kLookEveryAtTheEnd : kLookEvery);
    MutexLock lock(mutex);
    changed.WaitFor(lock, wait, [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) { return look; });
    look = false;
  }
  Close();
  logger->info("stopped");
  {
    const MutexLock lock(mutex);
    stopped = true;
  }
  changed.NotifyAll();
}

void Server::Impl::Close() {
  acceptor->Stop();
  http.reset();
  grpc->Shutdown(std::chrono::system_clock::now());  // cancels what is left
  grpc->Wait();
  studio.AwaitNoCalls();
  studio.Set(nullptr);
}

void Server::Impl::Publish(const Lifecycle::Probes& now) {
  grpc::HealthCheckServiceInterface* health = grpc->GetHealthCheckService();
  for (const char* name : kLiveness) health->SetServingStatus(name, now.live);
  for (const char* name : kReadiness) health->SetServingStatus(name, now.ready);
  for (const char* name : kStartup) health->SetServingStatus(name, now.started);
  logger->info("health live={} ready={} started={}", YesNo(now.live), YesNo(now.ready), YesNo(now.started));
  {
    const MutexLock lock(mutex);
    probes = now;
  }
  changed.NotifyAll();
}

void Server::Impl::RefuseWork(Lifecycle::Refusal why) {
  const bool lost = why == Lifecycle::Refusal::kDeviceLost;
  const char* message = lost ? "the device is lost" : "the server is shutting down";
  logger->info("new work is refused: {}", message);
  const absl::StatusOr<std::shared_ptr<Studio>> made = studio.Get();
  if (!made.ok()) return;
  (*made)->StopAdmission(
      MakeError(absl::StatusCode::kUnavailable, message,
                {.reason = lost ? Reason::kDeviceFailed : Reason::kShuttingDown, .retry_delay = kShutdownRetry}));
}

void Server::Impl::EndVideos() {
  logger->warn("the time is over: videos that are still being made are ended");
  const absl::StatusOr<std::shared_ptr<Studio>> made = studio.Get();
  if (!made.ok()) return;
  (*made)->EndAll(MakeError(absl::StatusCode::kUnavailable, "the server is shutting down",
                            {.reason = Reason::kShuttingDown, .retry_delay = kShutdownRetry}));
}

void Server::Impl::Serve(std::unique_ptr<Engine> engine) {
  const ModelInfo& model = engine->model();
  logger->info("serving model={} sampler={} numerics_id={} sessions={}", model.name, model.sampler, model.numerics_id,
               options.studio.max_sessions);
  // The kernel ends a process that takes more than its container has. So chunks have half of what is left at most.
  StudioOptions studio_options = options.studio;
  const uint64_t left = engine->host_bytes_left();
  if (left / 2 < static_cast<uint64_t>(studio_options.keep_bytes)) {
    studio_options.keep_bytes = static_cast<int64_t>(left / 2);
    logger->info("keep_mib={}: half of the memory that is left", studio_options.keep_bytes >> 20);
  }
  studio.Set(std::make_shared<Studio>(
      studio_options, std::move(engine),
      [bytes = options.studio.max_part_bytes](const std::string& name) { return WireSerializer(name, bytes); }, clock,
      &metrics, logger, /*with_thread=*/true, store.get()));
  if (!lifecycle.Loaded()) return;
  Look();
  MutexLock lock(mutex);
  changed.Wait(lock, [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) { return probes.started || stopped; });
}

uint64_t ServerBytes(int sessions, const ModelInfo& model) {
  // Threads' stacks and heaps, connections, metrics: the bundled model's server took 10 MiB more with its first client,
  // an encoder and 10 s of chunks among them, and 6 MiB more with four at once.
  constexpr uint64_t kProcess = uint64_t{16} << 20;
  // An encoder took 2.7 MiB for 256x160, 13.8 MiB for 832x480, 28.4 MiB for 1280x704. Each video has one while a block
  // of it is decoded.
  constexpr uint64_t kEncoder = uint64_t{3} << 19, kEncoderPixel = 36;
  uint64_t pixels = 0;
  for (const Size size : model.sizes) {
    pixels = std::max(pixels, static_cast<uint64_t>(size.width) * static_cast<uint64_t>(size.height));
  }
  return kProcess + static_cast<uint64_t>(sessions) * (kEncoder + kEncoderPixel * pixels);
}

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Server::~Server() = default;

absl::StatusOr<std::unique_ptr<Server>> Server::Start(const ServerOptions& options, spdlog::logger* logger) {
  auto impl = std::make_unique<Impl>(options, logger);
  if (absl::Status status = impl->Start(); !status.ok()) return status;
  return std::unique_ptr<Server>(new Server(std::move(impl)));
}

void Server::Serve(std::unique_ptr<Engine> engine) { impl_->Serve(std::move(engine)); }

void Server::Stop(bool grace) {
  const LifecycleOptions& options = impl_->options.lifecycle;
  impl_->logger->info("stopping grace_seconds={:.1f} limit_seconds={:.1f}",
                      grace ? absl::ToDoubleSeconds(options.shutdown_grace) : 0.0,
                      absl::ToDoubleSeconds(options.shutdown_limit));
  impl_->lifecycle.Stop(grace);
  impl_->Look();
}

bool Server::AwaitStopped(absl::Duration limit) {
  MutexLock lock(impl_->mutex);
  return impl_->changed.WaitFor(lock, limit,
                                [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(impl_->mutex) { return impl_->stopped; });
}

int Server::port() const { return impl_->acceptor->port(); }
int Server::metrics_port() const { return PortOf(impl_->metrics_http); }
int Server::http_port() const { return PortOf(impl_->http); }
std::string Server::MetricsText() const { return impl_->metrics.Text(); }

}  // namespace longtake::server
