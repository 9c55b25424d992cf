// Requests about videos that another server makes, passed on to that server's HTTP port.
#ifndef LONGTAKE_SERVER_HTTP_PASS_ON_H_
#define LONGTAKE_SERVER_HTTP_PASS_ON_H_

#include <memory>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/http/http.h"
#include "server/telemetry/origin.h"

namespace longtake::server {

// A request that was passed on is marked, and not passed on again.
class HttpPeers {
 public:
  // ResourceExhausted: the system gives no thread. `max_unread`: a client that takes nothing for so long is given up.
  static absl::StatusOr<std::unique_ptr<HttpPeers>> Start(absl::Duration max_unread);
  ~HttpPeers();  // behind the server whose requests it passes on; cuts what is under way

  // The address to which a request that has failed so is to be passed on; empty: the error is the client's.
  static std::string ServerOf(const absl::Status& error, const HttpRequest& request);

  // Answers with what the server at `address` answers, a growing body as it grows, or with `error` where that one
  // cannot be reached. The request's line in that server's log has the id of `origin`, and its span there is a child of
  // this one's.
  void PassOn(const std::string& address, const absl::Status& error, const CallOrigin& origin,
              const HttpRequest& request, std::shared_ptr<HttpResponder> responder);

 private:
  struct Impl;
  explicit HttpPeers(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_HTTP_PASS_ON_H_
