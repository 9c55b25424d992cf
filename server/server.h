// A server of longtake.v1 with health, reflection and metrics. The only header of server/ that other folders include.
#ifndef LONGTAKE_SERVER_SERVER_H_
#define LONGTAKE_SERVER_SERVER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/build_info.h"
#include "engine/engine.h"
#include "server/access/access.h"
#include "server/access/viewing_links.h"
#include "server/grpc/front_options.h"
#include "server/lifecycle/lifecycle.h"
#include "server/listen/connection_table.h"
#include "server/policy/policy_options.h"
#include "server/store/s3/options.h"
#include "server/telemetry/log_options.h"
#include "server/telemetry/trace_options.h"
#include "server/video/studio_options.h"

namespace spdlog {
class logger;
}

namespace longtake::server {

struct ServerOptions {
  std::string listen = "127.0.0.1:50051";  // port 0: any free one
  std::string metrics_listen = {};         // of metrics and probes; empty: they are not served over HTTP
  std::string http_listen = {};            // of videos and the page over HTTP; empty: they are not
  bool http_page = true;                   // of the latter: the page at /
  std::string http_allow_origin = {};      // of it: pages of this origin may use it; "*": of all; empty: its own alone
  // A directory, or "s3://bucket/prefix", in which videos outlive the process; empty: they do not.
  std::string store = {};
  S3Options s3 = {};  // of the latter
  // Of several servers that share the store: "redis://host:port"; empty: this one has it alone.
  std::string registry = {};
  std::string registry_password_file = {};  // its first line; empty: none is sent
  std::string peer_ca = {};    // authorities of other servers' certificates, PEM; empty: they are called in plain text
  std::string peer_name = {};  // PeerOptions::name
  std::string advertise = {};  // where other servers reach `listen`; empty: there, if that is an address
  std::string advertise_http = {};          // the same of `http_listen`
  absl::Duration lease = absl::Seconds(5);  // a server that is silent for so long has lost its videos to others
  StudioOptions studio = {};
  LifecycleOptions lifecycle = {};
  KeepaliveOptions keepalive = {};
  ConnectionLimits connections = {};  // of `listen` and `http_listen` together
  // Who is asking. Clients' certificates identify them where `tls` has authorities for them.
  AccessOptions access = {};
  LinkOptions links = {};
  PolicyOptions policy = {};
  // Whose callers may see all videos at /status; empty: nobody, where callers are asked who they are.
  std::string operator_tenant = {};
  std::string quotas = {};  // a file of what tenants may have; empty: as much as there is
  TlsOptions tls = {};
  bool production = false;                       // without reflection
  CallLogLevel log_calls = CallLogLevel::kAuto;  // when they have finished
  TraceOptions trace = {};
  BuildInfo build = {};                         // what metrics say of this program
  const Clock* clock = nullptr;                 // outlives the server; null: the system's monotonic clock
  std::function<absl::Time()> now = absl::Now;  // of tokens, links, and hours of quotas
};

// Host memory that the server takes beside the engine and the chunks that it keeps, while it makes so many videos of
// the model's largest size.
uint64_t ServerBytes(int sessions, const ModelInfo& model, const RequestLimits& limits);

// gRPC's health service answers for "" and "liveness", "readiness" with the names of both services, and "startup"; HTTP
// for /livez, /readyz and /startupz, beside /metrics. Lifecycle says what they mean.
class Server {
 public:
  // Listens and answers: live, not ready, not started until Serve. Unavailable: an address is taken, or the system
  // gives no thread. Others name the option or the file that is wrong. `logger` outlives it.
  static absl::StatusOr<std::unique_ptr<Server>> Start(const ServerOptions& options, spdlog::logger* logger);
  ~Server();  // ends everything at once, but waits for the passes under way

  // The engine is loaded and warm: requests are accepted, and health says so when it returns. Once. Does nothing after
  // Stop.
  void Serve(std::unique_ptr<Engine> engine);

  // Begins the end by LifecycleOptions, with or without its grace, and returns. A second call changes nothing.
  void Stop(bool grace);
  // Waits until the end is complete, at most `limit`. True if it is.
  bool AwaitStopped(absl::Duration limit);

  int port() const;
  int metrics_port() const;  // 0: none
  int http_port() const;     // the same
  std::string MetricsText() const;

 private:
  struct Impl;
  explicit Server(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_SERVER_H_
