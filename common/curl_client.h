// Asks an HTTP server, by libcurl.
#ifndef LONGTAKE_COMMON_CURL_CLIENT_H_
#define LONGTAKE_COMMON_CURL_CLIENT_H_

#include <atomic>
#include <cstddef>
#include <map>
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
  struct Request {
    std::string method = "GET", url = {};
    std::vector<std::string> headers = {};  // "Name: value" each
    const std::string* body = nullptr;      // outlives the call; null: there is none
  };
  struct Answer {
    int status = 0;
    std::string body;
    std::map<std::string, std::string> headers = {};  // by their names in lower case
  };
  struct Options {
    // Of one request, with its connection.
    absl::Duration timeout = absl::InfiniteDuration();
    // Of the connection alone.
    absl::Duration connect_timeout = absl::InfiniteDuration();
    // A request in which nothing moves for so long fails, however long all of it may take. Whole seconds.
    absl::Duration stall_timeout = absl::InfiniteDuration();
    // An answer with a longer body is an error. 64 MiB is more than any page of ours has, so no server fills the
    // memory.
    size_t most_bytes = size_t{64} << 20;
    // Authorities of the server's certificate, a PEM file; empty: the system's.
    std::string authorities = {};
  };

  // `timeout`: of one request, with its connection.
  explicit CurlClient(absl::Duration timeout);
  explicit CurlClient(const Options& options);
  ~CurlClient();

  // Unavailable: there is no answer, or not all of it, and the message says why. Every status is an answer.
  absl::StatusOr<Answer> Send(const Request& request);

  // `headers`: "Name: value" each. Unavailable: there is no answer, and the message says why.
  absl::StatusOr<Answer> Get(const std::string& url, const std::vector<std::string>& headers = {});
  absl::StatusOr<Answer> Post(const std::string& url, const std::string& body, const std::vector<std::string>& headers);

  // From any thread: the request under way fails within a second, and all later ones do.
  void Abort() { aborted_ = true; }

 private:
  struct Handle;

  const std::unique_ptr<Handle> handle_;
  const size_t most_bytes_;
  std::atomic<bool> aborted_ = false;
};

}  // namespace longtake

#endif  // LONGTAKE_COMMON_CURL_CLIENT_H_
