// A Redis of the test's own.
#ifndef LONGTAKE_TESTS_SERVER_REDIS_SERVER_H_
#define LONGTAKE_TESTS_SERVER_REDIS_SERVER_H_

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "server/store/redis.h"

namespace longtake::server {

// On a port of 127.0.0.1, in memory only; ends with this, or with the process.
class RedisServer {
 public:
  RedisServer() : port_(FreePort()) { Start(); }
  ~RedisServer() { Kill(); }

  void Start() {
    const std::string port = absl::StrCat(port_);
    pid_ = fork();
    if (pid_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      // Debian's redis-tools has the server under another name; by this one it would check a file. The package
      // redis-server would start one for the machine.
      execlp("redis-check-rdb", "redis-server", "--bind", "127.0.0.1", "--port", port.c_str(), "--save", "",
             "--appendonly", "no", "--logfile", "/dev/null", nullptr);
      _exit(127);
    }
    for (int i = 0; i < 60'000; ++i) {
      Redis redis({"127.0.0.1", port_}, "", absl::Seconds(5));
      if (redis.Command({"PING"}).ok()) return;
      int status = 0;
      if (waitpid(pid_, &status, WNOHANG) == pid_) break;
      absl::SleepFor(absl::Milliseconds(1));
    }
    ADD_FAILURE() << "redis-server does not start on port " << port_;
  }
  void Kill() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }

  std::string url() const { return absl::StrCat("redis://127.0.0.1:", port_); }
  // What the command answers.
  RedisReply Ask(const std::vector<std::string>& words, const std::string& password = "") const {
    Redis redis({"127.0.0.1", port_}, password, absl::Seconds(60));
    absl::StatusOr<RedisReply> reply = redis.Command(words);
    EXPECT_TRUE(reply.ok()) << reply.status();
    return reply.value_or(RedisReply());
  }
  // Cuts all connections, which are let in again by the password they have.
  void CutClients(const std::string& password) const {
    Ask({"CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"}, password);
  }
  // The leases of all servers end now, whatever they were.
  void EndLeases() const {
    for (const std::string& key : Ask({"KEYS", "longtake:server:*"}).list) Ask({"DEL", key});
  }

 private:
  static int FreePort() {
    const int listener = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    const bool bound = bind(listener, reinterpret_cast<sockaddr*>(&address), size) == 0 &&
                       getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size) == 0;
    close(listener);
    EXPECT_TRUE(bound);
    return ntohs(address.sin_port);
  }

  const int port_;
  pid_t pid_ = 0;
};

}  // namespace longtake::server

#endif  // LONGTAKE_TESTS_SERVER_REDIS_SERVER_H_
