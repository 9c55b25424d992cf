// Asks an HTTP server, by libcurl.
#ifndef LONGTAKE_COMMON_CURL_CLIENT_H_
#define LONGTAKE_COMMON_CURL_CLIENT_H_

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace longtake {

// Keeps its connection from one request to the next. It asks the server itself, whatever http_proxy says, and follows
// no redirection: what it sends goes to nobody else. One thread at a time, but for Abort.
class CurlClient {
 public:
  struct Answer {
    int status = 0;
    std::string body;
  };

  // `timeout`: of one request, with its connection.
  explicit CurlClient(absl::Duration timeout);
  ~CurlClient();

  // `headers`: "Name: value" each. Unavailable: there is no answer, and the message says why.
  absl::StatusOr<Answer> Get(const std::string& url, const std::vector<std::string>& headers = {});
  absl::StatusOr<Answer> Post(const std::string& url, const std::string& body, const std::vector<std::string>& headers);

  // From any thread: the request under way fails within a second, and all later ones do.
  void Abort() { aborted_ = true; }

 private:
  struct Handle;
  absl::StatusOr<Answer> Perform(const std::string& url, const std::vector<std::string>& headers);

  const std::unique_ptr<Handle> handle_;
  std::atomic<bool> aborted_ = false;
};

}  // namespace longtake

#endif  // LONGTAKE_COMMON_CURL_CLIENT_H_
