// A collector of traces that keeps what it is sent.
#ifndef LONGTAKE_TESTS_SERVER_MOCK_COLLECTOR_H_
#define LONGTAKE_TESTS_SERVER_MOCK_COLLECTOR_H_

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/mutex.h"
#include "gtest/gtest.h"

namespace longtake {

// Serves one connection after the other.
class MockCollector {
 public:
  struct Request {
    std::string head, body;
  };

  // `answers`: false: it accepts and never says anything.
  explicit MockCollector(bool answers = true, int status = 200) : answers_(answers), status_(status) {
    listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(bind(listener_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
    EXPECT_EQ(listen(listener_, 16), 0);
    socklen_t size = sizeof(address);
    EXPECT_EQ(getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size), 0);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { Run(); });
  }
  // Cuts the connection of whoever sends to it.
  ~MockCollector() {
    {
      const MutexLock lock(mutex_);
      closing_ = true;
      if (connection_ >= 0) shutdown(connection_, SHUT_RDWR);
    }
    shutdown(listener_, SHUT_RDWR);
    thread_.join();
    close(listener_);
  }
  MockCollector(const MockCollector&) = delete;
  MockCollector& operator=(const MockCollector&) = delete;

  std::string endpoint() const { return absl::StrCat("http://127.0.0.1:", port_); }
  std::vector<Request> requests() {
    const MutexLock lock(mutex_);
    return requests_;
  }
  // All spans so far.
  std::vector<nlohmann::json> spans() {
    std::vector<nlohmann::json> spans;
    for (const Request& request : requests()) {
      const nlohmann::json body = nlohmann::json::parse(request.body);
      for (const nlohmann::json& resource : body.at("resourceSpans")) {
        for (const nlohmann::json& scope : resource.at("scopeSpans")) {
          for (const nlohmann::json& span : scope.at("spans")) spans.push_back(span);
        }
      }
    }
    return spans;
  }

 private:
  void Run() {
    for (int connection = 0; (connection = accept(listener_, nullptr, nullptr)) >= 0;) {
      if (Take(connection)) {
        while (Serve(connection)) continue;
        Take(-1);
      }
      close(connection);
    }
  }
  // The connection is the one that is served; false: none is, any more.
  bool Take(int connection) {
    const MutexLock lock(mutex_);
    connection_ = connection;
    return !closing_;
  }
  // One request; false: there is no more.
  bool Serve(int connection) {
    Request request;
    std::array<char, 65536> bytes;
    size_t size = 0;
    for (size_t end = std::string::npos; end == std::string::npos || request.body.size() < size;) {
      const ssize_t got = recv(connection, bytes.data(), bytes.size(), 0);
      if (got <= 0) return false;
      if (end != std::string::npos) {
        request.body.append(bytes.data(), static_cast<size_t>(got));
        continue;
      }
      request.head.append(bytes.data(), static_cast<size_t>(got));
      end = request.head.find("\r\n\r\n");
      if (end == std::string::npos) continue;
      request.body = request.head.substr(end + 4);
      request.head = absl::AsciiStrToLower(request.head.substr(0, end + 2));
      const size_t at = request.head.find("content-length: ") + 16;
      EXPECT_TRUE(absl::SimpleAtoi(request.head.substr(at, request.head.find('\r', at) - at), &size));
      if (absl::StrContains(request.head, "expect: 100-continue")) Send(connection, "HTTP/1.1 100 Continue\r\n\r\n");
    }
    if (!answers_) {  // until the client gives up
      while (recv(connection, bytes.data(), bytes.size(), 0) > 0) continue;
      return false;
    }
    {
      const MutexLock lock(mutex_);
      requests_.push_back(std::move(request));
    }
    Send(connection, absl::StrCat("HTTP/1.1 ", status_, " -\r\nContent-Length: 2\r\n\r\n{}"));
    return true;
  }
  static void Send(int connection, const std::string& text) {
    send(connection, text.data(), text.size(), MSG_NOSIGNAL);
  }

  const bool answers_;
  const int status_;
  int listener_ = -1, port_ = 0;
  Mutex mutex_;
  std::vector<Request> requests_ ABSL_GUARDED_BY(mutex_);
  int connection_ ABSL_GUARDED_BY(mutex_) = -1;
  bool closing_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace longtake

#endif  // LONGTAKE_TESTS_SERVER_MOCK_COLLECTOR_H_
