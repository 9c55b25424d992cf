// A client of HTTP/1.1 that looks at everything.
#ifndef LONGTAKE_TESTS_SERVER_HTTP_CLIENT_H_
#define LONGTAKE_TESTS_SERVER_HTTP_CLIENT_H_

#include <array>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "tests/server/http_get.h"

namespace longtake {

struct HttpReply {
  int status = 0;
  std::map<std::string, std::string> headers;  // by their names in lower case
  std::string body;
  bool whole = false;  // as its length or its last chunk says

  nlohmann::json json() const { return nlohmann::json::parse(body, nullptr, /*allow_exceptions=*/false); }
};

// A connection that stays open from one request to the next.
class HttpClient {
 public:
  explicit HttpClient(int port) : connection_(ConnectTo(port)) { EXPECT_GE(connection_, 0); }
  ~HttpClient() { close(connection_); }
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  void Send(const std::string& text) const {
    EXPECT_EQ(send(connection_, text.data(), text.size(), MSG_NOSIGNAL), static_cast<ssize_t>(text.size()));
  }
  // `on_part`: called with the body so far; false leaves it there.
  HttpReply Ask(const std::string& method, const std::string& path, const std::string& body = {},
                const std::string& headers = {}, const std::function<bool(const std::string&)>& on_part = nullptr) {
    Send(absl::StrCat(method, " ", path, " HTTP/1.1\r\nHost: localhost\r\nContent-Length: ", body.size(), "\r\n",
                      headers, "\r\n", body));
    return Read(method == "HEAD", on_part);
  }
  HttpReply Read(bool head = false, const std::function<bool(const std::string&)>& on_part = nullptr) {
    HttpReply reply;
    size_t end = 0;
    while ((end = buffer_.find("\r\n\r\n")) == std::string::npos) {
      if (!More()) return reply;
    }
    const std::string top = buffer_.substr(0, end);
    buffer_.erase(0, end + 4);
    EXPECT_TRUE(absl::SimpleAtoi(top.substr(9, 3), &reply.status)) << top;
    for (size_t at = top.find("\r\n"); at != std::string::npos; at = top.find("\r\n", at + 2)) {
      const std::string line = top.substr(at + 2, top.find("\r\n", at + 2) - at - 2);
      const size_t colon = line.find(':');
      reply.headers[absl::AsciiStrToLower(line.substr(0, colon))] =
          std::string(absl::StripAsciiWhitespace(line.substr(colon + 1)));
    }
    if (head || reply.status == 204 || reply.status == 304) {
      reply.whole = true;
    } else if (reply.headers["transfer-encoding"] == "chunked") {
      ReadChunks(reply, on_part);
    } else {
      size_t size = 0;
      EXPECT_TRUE(absl::SimpleAtoi(reply.headers["content-length"], &size));
      while (buffer_.size() < size && More()) continue;
      reply.whole = buffer_.size() >= size;
      reply.body = buffer_.substr(0, size);
      buffer_.erase(0, size);
    }
    return reply;
  }

  // Reads and forgets what there is, up to the connection's end.
  void AwaitEnd() {
    while (More()) buffer_.clear();
  }

 private:
  bool More() {
    std::array<char, 65536> bytes;
    const ssize_t size = recv(connection_, bytes.data(), bytes.size(), 0);
    if (size > 0) buffer_.append(bytes.data(), static_cast<size_t>(size));
    return size > 0;
  }
  void ReadChunks(HttpReply& reply, const std::function<bool(const std::string&)>& on_part) {
    while (true) {
      size_t end = 0;
      while ((end = buffer_.find("\r\n")) == std::string::npos) {
        if (!More()) return;
      }
      const size_t size = std::stoul(buffer_.substr(0, end), nullptr, 16);
      while (buffer_.size() < end + 2 + size + 2) {
        if (!More()) return;
      }
      reply.body += buffer_.substr(end + 2, size);
      buffer_.erase(0, end + 2 + size + 2);
      reply.whole = size == 0;
      if (reply.whole || (on_part && !on_part(reply.body))) return;
    }
  }

  const int connection_;
  std::string buffer_;
};

}  // namespace longtake

#endif  // LONGTAKE_TESTS_SERVER_HTTP_CLIENT_H_
