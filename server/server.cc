#include "server/server.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "common/mutex.h"
#include "common/thread.h"
#include "server/access/known_servers.h"
#include "server/grpc/front.h"
#include "server/grpc/wire.h"
#include "server/http/http_server.h"
#include "server/http/routes.h"
#include "server/http/status_json.h"
#include "server/http/video_json.h"
#include "server/open_store.h"
#include "server/policy/policy_gate.h"
#include "server/telemetry/call_log.h"
#include "server/telemetry/tracer.h"
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
constexpr absl::Duration kLogConnectionsEvery = absl::Seconds(10);
// The device's health and, in a shutdown, whether anything still runs are looked at so often.
constexpr absl::Duration kLookEvery = absl::Milliseconds(200), kLookEveryAtTheEnd = absl::Milliseconds(10);

const char* YesNo(bool value) { return value ? "yes" : "no"; }

// The error with the option that it comes of.
absl::Status Named(const char* option, const absl::Status& error) {
  return {error.code(), absl::StrCat(option, ": ", error.message())};
}

// Where other servers reach a port: as the option says, else where it listens.
absl::StatusOr<std::string> Advertised(const char* option, const std::string& value, const std::string& listen,
                                       int port) {
  if (!value.empty()) return value;
  const std::string host = listen.substr(0, listen.rfind(':'));
  if (host.empty() || host == "*" || host == "0.0.0.0" || host == "[::]") {
    return absl::InvalidArgumentError(
        absl::StrCat(option, ": other servers cannot reach ", listen, ", so an address of this one is needed"));
  }
  return absl::StrCat(host, ":", port);
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
        metrics(given.build),
        connections(std::make_shared<ConnectionTable>(given.connections)),
        metrics_connections(std::make_shared<ConnectionTable>(ConnectionLimits{.all = 256})),
        lifecycle(given.lifecycle, clock, this) {}
  ~Impl() override;

  absl::Status Start();
  absl::Status ListenForMetrics();
  absl::Status ListenForVideos();
  HttpAnswer Page(const HttpRequest& request);
  HttpAnswer Status(const Identity& caller);
  absl::Status OpenAccess();
  absl::Status ListenForGrpc();
  absl::Status OpenStorage();
  void Serve(std::unique_ptr<Engine> engine);
  void Run();  // thread's
  Lifecycle::Observed Observe();
  void LogConnections();

  void Publish(const Lifecycle::Probes& now) override;
  void RefuseWork(Lifecycle::Refusal why) override;
  void EndVideos() override;

  Lifecycle::Probes Now() {
    const MutexLock lock(mutex);
    return probes;
  }
  // Lets Run look at once.
  void Look();
  // Answers what waits for the policy, so that nobody comes back from there to a studio that is gone.
  void ClosePolicy() {
    if (policy != nullptr) policy->Close();
  }

  const ServerOptions options;
  spdlog::logger* const logger;
  const MonotonicClock own_clock;
  const Clock* const clock;
  Metrics metrics;
  // Of the ports for videos; of metrics and probes, which Prometheus and the kubelet ask once in seconds.
  const std::shared_ptr<ConnectionTable> connections, metrics_connections;
  std::unique_ptr<Tracer> tracer;  // null: nothing is traced
  std::unique_ptr<CallLog> calls;
  std::unique_ptr<Store> store;  // outlives the studio, as the next does
  std::unique_ptr<Registry> registry;
  std::unique_ptr<Authenticator> authenticator;
  std::unique_ptr<KnownServers> servers;  // null: none has a name
  std::unique_ptr<ViewingLinks> links;
  std::unique_ptr<Quotas> quotas;
  std::unique_ptr<PolicyGate> policy;  // null: everything may be made
  std::unique_ptr<Front> front;
  Lifecycle lifecycle;
  std::string device_reason;  // what Run said last about the device; empty: it works
  uint64_t logged_connections = 0;
  absl::Duration log_connections_again;

  Mutex mutex;
  ConditionVariable changed;
  Lifecycle::Probes probes ABSL_GUARDED_BY(mutex);
  bool look ABSL_GUARDED_BY(mutex) = false;
  bool stopped ABSL_GUARDED_BY(mutex) = false;

  std::unique_ptr<HttpPeers> http_peers;
  std::unique_ptr<Routes> routes;
  int metrics_port = 0, http_port = 0;
  std::unique_ptr<HttpServer> metrics_http, http;  // what they answer reads the above
  std::thread thread;
};

// Names videos of all tenants, which is for nobody but who runs the server.
HttpAnswer Server::Impl::Status(const Identity& caller) {
  const std::string& tenant = options.operator_tenant;
  const bool may = authenticator->open() || (!tenant.empty() && caller.tenant.id == tenant);
  if (!may) return {.status = 403, .body = "for callers of --operator-tenant alone\n"};
  // This port answers before the other ones are there.
  absl::StatusOr<std::shared_ptr<Studio>> studio = absl::UnavailableError("the model is being loaded");
  if (Now().started) studio = front->studio().Get();
  return ToAnswer(StatusJson(studio.ok() ? studio->get() : nullptr, *quotas, options.store));
}

// Of the port of metrics and probes. A kubelet has no token, and probes say nothing of anybody's videos.
HttpAnswer Server::Impl::Page(const HttpRequest& request) {
  if (request.path == "/livez") return ProbeAnswer(Now().live, "live");
  if (request.path == "/readyz") return ProbeAnswer(Now().ready, "ready");
  if (request.path == "/startupz") return ProbeAnswer(Now().started, "started");
  if (request.path != "/metrics" && request.path != "/status") return {.status = 404, .body = "not found\n"};
  const absl::StatusOr<Identity> caller = Identify(*authenticator, request);
  if (!caller.ok()) return ToAnswer(caller.status());
  if (request.path == "/status") return Status(*caller);
  return {.content_type = "text/plain; version=0.0.4; charset=utf-8", .body = metrics.Text()};
}

absl::Status Server::Impl::ListenForMetrics() {
  const HttpHandler handler = [this](const HttpRequest& request, const std::shared_ptr<HttpResponder>& responder) {
    if (request.method != "GET") return responder->Answer({.status = 405, .headers = {{"Allow", "GET"}}});
    HttpAnswer answer = Page(request);
    answer.headers.emplace_back("Cache-Control", "no-store");
    responder->Answer(std::move(answer));
  };
  absl::StatusOr<std::unique_ptr<HttpServer>> made = HttpServer::Start(
      options.metrics_listen, handler, {.body_bytes = 0, .keep_alive = false}, metrics_connections.get(), logger);
  if (!made.ok()) return Named("metrics-listen", made.status());
  metrics_http = *std::move(made);
  metrics_port = metrics_http->port();
  return absl::OkStatus();
}

absl::Status Server::Impl::ListenForVideos() {
  const RouteOptions route_options{.page = options.http_page && !options.production,
                                   .allow_origin = options.http_allow_origin};
  absl::StatusOr<std::unique_ptr<HttpPeers>> peers = HttpPeers::Start(options.studio.max_unread);
  if (!peers.ok()) return Named("http-listen", peers.status());
  http_peers = *std::move(peers);
  routes = std::make_unique<Routes>(route_options, &front->studio(), http_peers.get(), authenticator.get(), links.get(),
                                    quotas.get(), &metrics, calls.get(), [this] { return Now().ready; });
  absl::StatusOr<std::unique_ptr<HttpServer>> made = HttpServer::Start(
      options.http_listen,
      [this](const HttpRequest& request, std::shared_ptr<HttpResponder> responder) {
        routes->Handle(request, std::move(responder));
      },
      // As text in JSON a picture takes four bytes for three.
      {.picture_bytes = static_cast<size_t>(options.studio.limits.max_first_image_bytes) / 3 * 4 + 4},
      connections.get(), logger);
  if (!made.ok()) return Named("http-listen", made.status());
  http = *std::move(made);
  http_port = http->port();
  return absl::OkStatus();
}

absl::Status Server::Impl::OpenAccess() {
  AccessOptions access = options.access;
  access.certificates = !options.tls.client_authorities.empty();
  absl::StatusOr<std::unique_ptr<Authenticator>> opened = Authenticator::Open(access, clock, logger, options.now);
  if (!opened.ok()) return opened.status();
  authenticator = *std::move(opened);
  if (!options.peer_name.empty() && !options.peer_ca.empty()) {
    absl::StatusOr<std::unique_ptr<KnownServers>> known =
        KnownServers::Open(options.peer_ca, options.peer_name, clock, logger);
    if (!known.ok()) return Named("peer-ca", known.status());
    servers = *std::move(known);
  }
  absl::StatusOr<std::unique_ptr<ViewingLinks>> signer =
      ViewingLinks::Open(options.links, !authenticator->open(), clock, logger, options.now);
  if (!signer.ok()) return signer.status();
  links = *std::move(signer);
  absl::StatusOr<std::unique_ptr<Quotas>> limits =
      Quotas::Open(options.quotas, options.studio.max_waiting, clock, &metrics, logger, options.now);
  if (!limits.ok()) return limits.status();
  quotas = *std::move(limits);
  absl::StatusOr<std::unique_ptr<PolicyGate>> gate = PolicyGate::Open(options.policy, clock, &metrics, logger);
  if (!gate.ok()) return gate.status();
  policy = *std::move(gate);
  if (authenticator->open()) {
    logger->warn("callers are not asked who they are: all of them have the same rights, and see each other's videos");
  } else if (options.tls.certificate.empty()) {
    logger->warn("connections are not encrypted: whoever can read them can read tokens");
  }
  return absl::OkStatus();
}

absl::Status Server::Impl::ListenForGrpc() {
  absl::StatusOr<std::unique_ptr<Front>> made = Front::Listen(
      {.listen = options.listen,
       .keepalive = options.keepalive,
       .tls = options.tls,
       .peers = {.authorities = options.peer_ca, .name = options.peer_name},
       .reflection = !options.production},
      authenticator.get(), servers.get(), links.get(), quotas.get(), &metrics, calls.get(), connections.get(), logger);
  if (!made.ok()) return made.status();
  front = *std::move(made);
  return absl::OkStatus();
}

absl::Status Server::Impl::OpenStorage() {
  if (options.store.empty()) {
    if (options.registry.empty()) return absl::OkStatus();
    return absl::InvalidArgumentError("registry: is for servers that share a store, and there is none");
  }
  const Sharing sharing = options.registry.empty() ? Sharing::kAlone : Sharing::kShared;
  absl::StatusOr<std::unique_ptr<Store>> opened = OpenStore(options, sharing, logger);
  if (!opened.ok()) return opened.status();
  store = *std::move(opened);
  if (options.registry.empty()) return absl::OkStatus();
  if (!options.tls.certificate.empty() && options.peer_ca.empty()) {
    return absl::InvalidArgumentError(
        "peer-ca: is needed to call other servers, which have certificates as this one has");
  }
  absl::StatusOr<std::string> address = Advertised("advertise", options.advertise, options.listen, front->port());
  if (!address.ok()) return address.status();
  absl::StatusOr<std::string> http_address = std::string();
  if (http != nullptr) {
    http_address = Advertised("advertise-http", options.advertise_http, options.http_listen, http_port);
    if (!http_address.ok()) return http_address.status();
  }
  absl::StatusOr<std::unique_ptr<Registry>> shared = OpenRedisRegistry({.url = options.registry,
                                                                        .password_file = options.registry_password_file,
                                                                        .address = *address,
                                                                        .http_address = *http_address,
                                                                        .lease = options.lease},
                                                                       logger);
  if (!shared.ok()) return Named("registry", shared.status());
  registry = *std::move(shared);
  if (absl::Status counted = quotas->Share(&registry->counters()); !counted.ok()) return Named("registry", counted);
  logger->info("registry address={} http_address={}", *address, *http_address);
  return absl::OkStatus();
}

absl::Status Server::Impl::Start() {
  if (!options.trace.endpoint.empty()) {
    absl::StatusOr<std::unique_ptr<Tracer>> started = Tracer::Start(options.trace, options.build, &metrics, logger);
    if (!started.ok()) return started.status();
    tracer = *std::move(started);
  }
  metrics.WatchConnections([connections = connections] {
    const ConnectionTable::Counts now = connections->counts();
    return Metrics::Connections{.open = now.open, .closed = now.closed, .turned_away = now.turned_away};
  });
  calls = std::make_unique<CallLog>(options.log_calls, logger, tracer.get());
  if (absl::Status status = OpenAccess(); !status.ok()) return status;
  if (!options.metrics_listen.empty()) {
    if (absl::Status status = ListenForMetrics(); !status.ok()) return status;
  }
  if (absl::Status status = ListenForGrpc(); !status.ok()) return status;
  if (!options.http_listen.empty()) {
    if (absl::Status status = ListenForVideos(); !status.ok()) return status;
  }
  if (absl::Status status = OpenStorage(); !status.ok()) return status;
  logger->info("listening address={} port={} metrics_port={} http_port={}", options.listen, front->port(), metrics_port,
               http_port);
  lifecycle.Advance({});
  if (absl::Status status = front->Accept(); !status.ok()) return status;
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
  } else if (front != nullptr) {
    http.reset();
    ClosePolicy();
    front->Close();
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
  const absl::StatusOr<std::shared_ptr<Studio>> made = front->studio().Get();
  if (!made.ok()) return {.busy = front->studio().has_calls()};
  const DeviceHealth device = (*made)->device_health();
  if (device.state != DeviceHealth::State::kWorks && device_reason.empty()) logger->error("{}", device.reason);
  if (device.state == DeviceHealth::State::kWorks && !device_reason.empty()) logger->info("the device works again");
  device_reason = device.reason;
  return {.device_stuck = device.state == DeviceHealth::State::kStuck,
          .device_lost = device.state == DeviceHealth::State::kLost,
          .busy = (*made)->has_sessions() || front->studio().has_calls()};
}

void Server::Impl::LogConnections() {
  const ConnectionTable::Counts now = connections->counts();
  const uint64_t ended = now.closed + now.turned_away;
  if (ended == logged_connections || clock->Now() < log_connections_again) return;
  logged_connections = ended;
  log_connections_again = clock->Now() + kLogConnectionsEvery;
  logger->warn(
      "as many connections are open as may be: closed {} idle ones for others and turned away {} so far; "
      "--max-connections, --max-connections-per-address and ulimit -n say how many",
      now.closed, now.turned_away);
}

void Server::Impl::Run() {
  while (true) {
    LogConnections();
    const absl::Duration next = lifecycle.Advance(Observe()) - clock->Now();
    const Lifecycle::Phase phase = lifecycle.phase();
    if (phase == Lifecycle::Phase::kEnded) break;
    const bool ending = phase != Lifecycle::Phase::kLoading && phase != Lifecycle::Phase::kServing;
    const absl::Duration wait = std::clamp(next, absl::ZeroDuration(), ending ? kLookEveryAtTheEnd : kLookEvery);
    MutexLock lock(mutex);
    changed.WaitFor(lock, wait, [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) { return look; });
    look = false;
  }
  http.reset();  // its streams count as calls
  ClosePolicy();
  front->Close();
  logger->info("stopped");
  {
    const MutexLock lock(mutex);
    stopped = true;
  }
  changed.NotifyAll();
}

void Server::Impl::Publish(const Lifecycle::Probes& now) {
  for (const char* name : kLiveness) front->SetServing(name, now.live);
  for (const char* name : kReadiness) front->SetServing(name, now.ready);
  for (const char* name : kStartup) front->SetServing(name, now.started);
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
  const absl::StatusOr<std::shared_ptr<Studio>> made = front->studio().Get();
  if (!made.ok()) return;
  const absl::Status status =
      MakeError(absl::StatusCode::kUnavailable, message,
                {.reason = lost ? Reason::kDeviceFailed : Reason::kShuttingDown, .retry_delay = kShutdownRetry});
  (*made)->StopAdmission(status);
  if (!lost) (*made)->HandOver(status);
}

void Server::Impl::EndVideos() {
  logger->warn("the time is over: videos that are still being made are ended");
  const absl::StatusOr<std::shared_ptr<Studio>> made = front->studio().Get();
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
    logger->info("chunks have half of the memory that is left keep_mib={}", studio_options.keep_bytes >> 20);
  }
  front->studio().Set(std::make_shared<Studio>(
      studio_options, std::move(engine),
      [bytes = options.studio.max_part_bytes](const std::string& name) { return WireSerializer(name, bytes); }, clock,
      &metrics, logger, /*with_thread=*/true, Storage{store.get(), registry.get()}, quotas.get(), policy.get(),
      tracer.get()));
  if (!lifecycle.Loaded()) return;
  Look();
  MutexLock lock(mutex);
  changed.Wait(lock, [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) { return probes.started || stopped; });
}

uint64_t ServerBytes(int sessions, const ModelInfo& model, const RequestLimits& limits) {
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
  // One first image is decoded at a time, with four bytes a pixel and three for each column of the result.
  const auto image_pixels = static_cast<uint64_t>(limits.max_first_image_pixels);
  const auto waiting = static_cast<uint64_t>(PictureReader::kWaiting * limits.max_first_image_bytes);
  const uint64_t decoding = model.accepts_first_image ? 6 * image_pixels + waiting : 0;
  return kProcess + decoding + static_cast<uint64_t>(sessions) * (kEncoder + kEncoderPixel * pixels);
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

int Server::port() const { return impl_->front->port(); }
int Server::metrics_port() const { return impl_->metrics_port; }
int Server::http_port() const { return impl_->http_port; }
std::string Server::MetricsText() const { return impl_->metrics.Text(); }

}  // namespace longtake::server
