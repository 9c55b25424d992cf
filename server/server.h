// A server of longtake.v1 with health, reflection and metrics. The only header of server/ that other folders include.
#ifndef LONGTAKE_SERVER_SERVER_H_
#define LONGTAKE_SERVER_SERVER_H_

#include <map>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "engine/engine.h"

namespace spdlog {
class logger;
}

namespace longtake::server {

struct ServerOptions {
  std::string listen = "127.0.0.1:50051";  // port 0: any free one
  std::string metrics_listen = {};         // empty: no metrics are served
  int max_sessions = 4;                    // at most the engine's
  int live_places = 0;                     // of them, those that offline requests may not take
  int max_waiting = 16;                    // requests of each delivery beyond those
  double max_live_load = 0.95;             // share of the engine that admitted live videos may need to keep up
  absl::Duration max_wait = absl::InfiniteDuration();  // a request with a longer predicted wait is refused
  absl::Duration lead = absl::Seconds(30);       // of a live video over its viewer; then it gives way to all others
  absl::Duration max_lead = absl::Seconds(90);   // the same on an idle engine
  absl::Duration max_unread = absl::Minutes(2);  // a client that reads nothing for so long is given up
  std::map<std::string, double> tenant_weights = {};  // shares of offline work; 1 for those not named
  int max_batch_passes = 64;                          // of one batch on the engine
  int max_undelivered_chunks = 2;                     // of a video whose client does not read
  int encoder_threads = 2;
  int max_prompt_bytes = 4096;
  int64_t max_part_bytes = 3'500'000;        // of a chunk's message: many clients take 4 MiB at most
  absl::Duration drain = absl::Seconds(30);  // for videos being made when Drain is called
  absl::Duration flush = absl::Seconds(5);   // for clients to read what was finished by then
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
