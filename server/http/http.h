// Requests and answers of HTTP, without any library's types.
#ifndef LONGTAKE_SERVER_HTTP_HTTP_H_
#define LONGTAKE_SERVER_HTTP_HTTP_H_

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/time/time.h"

namespace longtake::server {

struct HttpRequest {
  bool head = false;         // the method is HEAD, and said to be GET; only the answer's head is wanted
  std::string method, path;  // "GET"; percent-decoded, without the query
  std::map<std::string, std::string> query;
  std::map<std::string, std::string> headers;  // by their names in lower case
  std::string body;
};

using HttpFields = std::vector<std::pair<std::string, std::string>>;

// Of a stream: its status is 200.
struct HttpHead {
  std::string content_type;
  HttpFields headers = {};
};

struct HttpAnswer {
  int status = 200;
  std::string content_type = "text/plain; charset=utf-8";
  std::string body;
  HttpFields headers = {};
  // Names the bytes for ever. With one, a client that has them gets 304, and parts of them are served.
  std::string etag = {};
};

// A body that is made while it is sent. One thread at a time calls it.
class HttpStream {
 public:
  // Bytes to write: `head`, then `bytes`, which `owner` keeps.
  struct Part {
    std::string head;
    std::shared_ptr<const void> owner;
    std::string_view bytes;
  };
  struct Step {
    bool has_part = false, ended = false;
    bool cut = false;  // ended before its end: the client must not take it for whole
    Part part;
  };

  virtual ~HttpStream() = default;
  // `more` is called from any thread when Next may have something after it had nothing.
  virtual void Start(std::function<void()> more) = 0;
  // What comes next. Neither a part nor the end: wait. Asked again when `more` says so or a second has passed.
  virtual Step Next() = 0;
  // The socket has taken the last part. Report follows when the next one has been started.
  virtual void Written() = 0;
  virtual void Report() = 0;
  // The last part has been under way for too long: the connection is to be given up.
  virtual bool Unread() = 0;
};

// An answer that is not there yet. One thread at a time calls it. It is gone once it has answered, or when the client
// is.
class HttpWait {
 public:
  virtual ~HttpWait() = default;
  // `more` is called from any thread when Look may have the answer after it had none.
  virtual void Start(std::function<void()> more) = 0;
  // The answer, once it is there. Asked when `more` says so or a second has passed.
  virtual std::optional<HttpAnswer> Look() = 0;
};

// Answers one request. May outlive it and be used from any thread; one of the three is called, once.
class HttpResponder {
 public:
  virtual ~HttpResponder() = default;
  virtual void Answer(HttpAnswer answer) = 0;
  virtual void Stream(HttpHead head, std::shared_ptr<HttpStream> stream) = 0;
  virtual void Wait(std::shared_ptr<HttpWait> wait) = 0;
};

// On one of a few threads that do nothing else. What it throws is answered as an error of the server's.
using HttpHandler = std::function<void(const HttpRequest& request, std::shared_ptr<HttpResponder> responder)>;

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_HTTP_HTTP_H_
