// Serves HTTP/1.1. Connections cost memory and no thread, for viewers are thousands of slow ones.
#ifndef LONGTAKE_SERVER_HTTP_HTTP_SERVER_H_
#define LONGTAKE_SERVER_HTTP_HTTP_SERVER_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/http/http.h"
#include "spdlog/logger.h"

namespace longtake::server {

struct HttpLimits {
  int connections = 10'000;  // more are closed at once
  size_t header_bytes = size_t{16} << 10;
  size_t body_bytes = size_t{16} << 20;
  // A request must be there within this time from its first byte; a connection between requests is kept for so long.
  absl::Duration request = absl::Seconds(30), idle = absl::Seconds(75);
};

class HttpServer {
 public:
  // Listens on "host:port" (port 0: any free one) until destroyed. Unavailable: the address is taken or none, or the
  // system gives no thread. `logger` outlives it.
  static absl::StatusOr<std::unique_ptr<HttpServer>> Start(const std::string& listen, HttpHandler handler,
                                                           const HttpLimits& limits, spdlog::logger* logger);
  ~HttpServer();  // closes all connections

  int port() const;

 private:
  struct Impl;
  explicit HttpServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_HTTP_HTTP_SERVER_H_
