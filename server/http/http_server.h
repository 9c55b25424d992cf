// The HTTP port: pages that are made when they are asked for. The only header of this room.
#ifndef LONGTAKE_SERVER_HTTP_HTTP_SERVER_H_
#define LONGTAKE_SERVER_HTTP_HTTP_SERVER_H_

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace longtake::server {

struct HttpAnswer {
  int status = 200;
  std::string content_type = "text/plain; charset=utf-8";
  std::string body;
};

struct HttpRequest {
  std::string authorization;  // the header's value; empty: there is none
};

class HttpServer {
 public:
  // Any thread, several at a time. An answer of 401 asks for a bearer token.
  using Page = std::function<HttpAnswer(const HttpRequest&)>;

  // Answers GET and HEAD of these paths on "host:port" (port 0: any free one) until destroyed; 404 for all others.
  // Unavailable: the address is taken or none.
  static absl::StatusOr<std::unique_ptr<HttpServer>> Start(const std::string& listen,
                                                           std::map<std::string, Page> pages);
  ~HttpServer();

  int port() const;

 private:
  struct Impl;
  explicit HttpServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_HTTP_HTTP_SERVER_H_
