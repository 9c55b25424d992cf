// Listens, and accepts connections. gRPC's own loop (1.51) stops listening for ever when one accept fails, as it does
// where the process has no descriptor left.
#ifndef LONGTAKE_SERVER_LISTEN_ACCEPTOR_H_
#define LONGTAKE_SERVER_LISTEN_ACCEPTOR_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "spdlog/logger.h"

namespace longtake::server {

class Acceptor {
 public:
  // Is given each new connection, which does not block, and closes it in the end. False: at once, for want of another
  // descriptor.
  using OnConnection = std::function<bool(int descriptor)>;

  // Listens on `address`: "host:port", "[v6 address]:port" or "unix:path"; port 0: any free one. A name is listened for
  // on all its addresses. Unavailable names the address. `logger` outlives it.
  static absl::StatusOr<std::unique_ptr<Acceptor>> Listen(const std::string& address, spdlog::logger* logger);
  ~Acceptor();
  Acceptor(const Acceptor&) = delete;
  Acceptor& operator=(const Acceptor&) = delete;

  // Accepts on a thread of its own. Once.
  absl::Status Start(OnConnection on_connection);
  // Closes its sockets; what was accepted stays. Done when it returns.
  void Stop();

  int port() const { return port_; }  // 0: of a unix: address

 private:
  explicit Acceptor(spdlog::logger* logger) : logger_(logger) {}
  absl::Status ListenOnName(const std::string& host, const std::string& port);
  absl::Status ListenOnPath(const std::string& path);
  void Loop();
  // Accepts all that wait on this socket. False: something ran out, and the loop should pause.
  bool AcceptAll(int listener);
  // Without a descriptor to accept with: gives up the spare one for it and closes the connection, so that its client
  // fails at once and may go elsewhere. In the queue of the socket it would wait without an answer.
  bool TurnAway(int listener);
  void LogFailure(int error);

  spdlog::logger* const logger_;
  OnConnection on_connection_;
  std::vector<int> listeners_;
  int port_ = 0;
  std::string path_;  // of a unix: address
  int wake_ = -1;     // an eventfd that ends the loop
  int spare_ = -1;    // an open descriptor, for TurnAway
  uint64_t turned_away_ = 0;
  absl::Time last_log_ = absl::InfinitePast();
  std::thread thread_;
};

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_LISTEN_ACCEPTOR_H_
