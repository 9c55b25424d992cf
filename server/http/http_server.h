// Serves HTTP/1.1. Connections cost memory and no thread, for viewers are thousands of slow ones.
#ifndef LONGTAKE_SERVER_HTTP_HTTP_SERVER_H_
#define LONGTAKE_SERVER_HTTP_HTTP_SERVER_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/http/http.h"
#include "server/listen/connection_table.h"
#include "spdlog/logger.h"

namespace longtake::server {

struct HttpLimits {
  size_t header_bytes = size_t{16} << 10;
  // Of one request, twice what the longest prompts take; of all that are being read; more is refused.
  size_t body_bytes = size_t{512} << 10, all_body_bytes = size_t{64} << 20;
  // Beside body_bytes, of a request that may have a picture.
  size_t picture_bytes = 0;
  bool keep_alive = true;  // a connection serves one request after the other
  // A body must be there within the first of these from its header on, and a header within the second from the
  // connection's beginning or the answer before.
  absl::Duration request = absl::Seconds(30), idle = absl::Seconds(75);
  // A client that is answered while it still sends may send for so long, before its connection is closed.
  absl::Duration linger = absl::Seconds(10);
};

class HttpServer {
 public:
  // Listens on "host:port" (port 0: any free one) until destroyed. Unavailable: the address is taken or none, or the
  // system gives no thread. `table` and `logger` outlive it.
  static absl::StatusOr<std::unique_ptr<HttpServer>> Start(const std::string& listen, HttpHandler handler,
                                                           const HttpLimits& limits, ConnectionTable* table,
                                                           spdlog::logger* logger);
  ~HttpServer();  // closes all connections

  int port() const;

 private:
  struct Impl;
  explicit HttpServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_HTTP_HTTP_SERVER_H_
