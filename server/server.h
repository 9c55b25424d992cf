// A server of longtake.v1 with health, reflection and metrics. The only header of server/ that other folders include.
#ifndef LONGTAKE_SERVER_SERVER_H_
#define LONGTAKE_SERVER_SERVER_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "engine/engine.h"
#include "server/video/studio_options.h"

namespace spdlog {
class logger;
}

namespace longtake::server {

struct ServerOptions {
  std::string listen = "127.0.0.1:50051";  // port 0: any free one
  std::string metrics_listen = {};         // empty: no metrics are served
  StudioOptions studio = {};
  absl::Duration drain = absl::Seconds(30);  // for videos being made when Drain is called
  absl::Duration flush = absl::Seconds(5);   // for clients to read what was finished by then
  const scheduler::Clock* clock = nullptr;   // outlives the server; null: the system's monotonic clock
};

class Server {
 public:
  // Listens and answers; health says NOT_SERVING until Serve. Unavailable: an address is taken. `logger` outlives it.
  static absl::StatusOr<std::unique_ptr<Server>> Start(const ServerOptions& options, spdlog::logger* logger);
  ~Server();  // drains, if Drain was not called, without waiting for videos

  // The engine is loaded and warm: health turns SERVING and requests are accepted. Once.
  void Serve(std::unique_ptr<Engine> engine);

  // Health turns NOT_SERVING, nothing new is admitted, waiting requests are refused. Videos being made have
  // `options.drain` to end, then they are ended as UNAVAILABLE behind their finished chunks, then what a client has not
  // read `options.flush` later is dropped. Blocks until all of this is done.
  void Drain();

  int port() const;
  int metrics_port() const;  // 0: none
  std::string MetricsText() const;

 private:
  struct Impl;
  explicit Server(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_SERVER_H_
