#include "server/listen/acceptor.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "common/thread.h"
#include "server/listen/address.h"

namespace longtake::server {
namespace {

// While the machine is short of something, accepting is tried again so often.
constexpr absl::Duration kPause = absl::Milliseconds(100);
constexpr absl::Duration kLogEvery = absl::Seconds(10);
constexpr int kFlags = SOCK_NONBLOCK | SOCK_CLOEXEC;
// A connection takes more only while fewer bytes than this wait in the kernel unsent, so that a finished write is at
// most so far ahead of the network: 0.2 s of the bundled model's video. By default they may be 4 MiB, which is most of
// a minute.
constexpr int kUnsentBytes = 16 << 10;

absl::Status Error(const char* call) {
  const int error = errno;
  const std::string message = absl::StrCat(call, ": ", std::strerror(error));
  // This machine does not have the address, or the kind of it: containers often know localhost as ::1 and have no IPv6.
  if (error == EADDRNOTAVAIL || error == EAFNOSUPPORT) return absl::NotFoundError(message);
  return absl::UnavailableError(message);
}

int OpenSpare() { return open("/dev/null", O_RDONLY | O_CLOEXEC); }

void Close(int& descriptor) {
  if (descriptor >= 0) close(descriptor);
  descriptor = -1;
}

int PortOf(int socket) {
  sockaddr_storage bound = {};
  socklen_t size = sizeof(bound);
  if (getsockname(socket, reinterpret_cast<sockaddr*>(&bound), &size) != 0) return 0;
  return ntohs(bound.ss_family == AF_INET6 ? reinterpret_cast<const sockaddr_in6*>(&bound)->sin6_port
                                           : reinterpret_cast<const sockaddr_in*>(&bound)->sin_port);
}

// `only_v6`: a socket that is bound to [::] leaves IPv4 to another one. NotFound: this machine has no such address.
absl::StatusOr<int> ListenOn(int family, const sockaddr* address, socklen_t size, bool only_v6) {
  int made = socket(family, SOCK_STREAM | kFlags, 0);
  if (made < 0) return Error("socket");
  const int one = 1;
  // An address of which only old connections are left is free; one that is listened on is not.
  setsockopt(made, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
  if (family == AF_INET6) {
    const int value = only_v6 ? 1 : 0;
    setsockopt(made, IPPROTO_IPV6, IPV6_V6ONLY, &value, sizeof(value));
  }
  const char* failed = bind(made, address, size) != 0 ? "bind" : listen(made, SOMAXCONN) != 0 ? "listen" : nullptr;
  if (failed == nullptr) return made;
  absl::Status error = Error(failed);
  Close(made);
  return error;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Acceptor>> Acceptor::Listen(const std::string& address, spdlog::logger* logger) {
  std::unique_ptr<Acceptor> acceptor(new Acceptor(logger));
  acceptor->wake_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  acceptor->spare_ = OpenSpare();
  absl::Status status;
  std::string host, port;
  absl::string_view path = address;
  if (acceptor->wake_ < 0 || acceptor->spare_ < 0) {
    status = Error("open");
  } else if (absl::ConsumePrefix(&path, "unix:")) {
    status = acceptor->ListenOnPath(std::string(path));
  } else if (SplitAddress(address, host, port)) {
    status = acceptor->ListenOnName(host, port);
  } else {
    status = NoAddress();
  }
  if (status.ok()) return acceptor;
  return absl::UnavailableError(
      absl::StrCat("listen: cannot listen on ", address, ": ", std::string(status.message())));
}

absl::Status Acceptor::ListenOnName(const std::string& host, const std::string& port) {
  const addrinfo hints{.ai_flags = AI_PASSIVE, .ai_socktype = SOCK_STREAM};
  addrinfo* found = nullptr;
  const int error = getaddrinfo(host.empty() ? nullptr : host.c_str(), port.c_str(), &hints, &found);
  if (error != 0) return absl::UnavailableError(gai_strerror(error));
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> addresses(found, freeaddrinfo);
  absl::Status status;
  for (addrinfo* at = found; at != nullptr; at = at->ai_next) {
    if (port_ != 0) {  // the one that the system chose for the first address
      (at->ai_family == AF_INET6 ? reinterpret_cast<sockaddr_in6*>(at->ai_addr)->sin6_port
                                 : reinterpret_cast<sockaddr_in*>(at->ai_addr)->sin_port) =
          htons(static_cast<uint16_t>(port_));
    }
    const absl::StatusOr<int> listener =
        ListenOn(at->ai_family, at->ai_addr, at->ai_addrlen, found->ai_next != nullptr);
    if (listener.ok()) {
      listeners_.push_back(*listener);
      port_ = PortOf(*listener);
    } else {
      status = listener.status();
      if (!absl::IsNotFound(status)) return status;
    }
  }
  return listeners_.empty() ? status : absl::OkStatus();
}

absl::Status Acceptor::ListenOnPath(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof(address.sun_path)) {
    return absl::UnavailableError("the path is empty or longer than 107 bytes");
  }
  path.copy(address.sun_path, path.size());
  struct stat before = {};
  if (lstat(path.c_str(), &before) == 0 && S_ISSOCK(before.st_mode)) unlink(path.c_str());  // of a server that crashed
  const absl::StatusOr<int> listener =
      ListenOn(AF_UNIX, reinterpret_cast<const sockaddr*>(&address), sizeof(address), false);
  if (!listener.ok()) return listener.status();
  listeners_.push_back(*listener);
  path_ = path;
  return absl::OkStatus();
}

absl::Status Acceptor::Start(OnConnection on_connection) {
  on_connection_ = std::move(on_connection);
  absl::StatusOr<std::thread> thread = StartThread("acceptor", [this] { Loop(); });
  if (!thread.ok()) return thread.status();
  thread_ = *std::move(thread);
  return absl::OkStatus();
}

Acceptor::~Acceptor() {
  Stop();
  Close(wake_);
  Close(spare_);
}

void Acceptor::Stop() {
  if (thread_.joinable()) {
    eventfd_write(wake_, 1);
    thread_.join();
  }
  for (int& listener : listeners_) Close(listener);
  listeners_.clear();
  if (!path_.empty()) unlink(path_.c_str());
  path_.clear();
}

void Acceptor::Loop() {
  std::vector<pollfd> polled = {{.fd = wake_, .events = POLLIN, .revents = 0}};
  for (const int listener : listeners_) polled.push_back({.fd = listener, .events = POLLIN, .revents = 0});
  bool pause = false;
  while (true) {
    // In a pause only the end is waited for.
    poll(polled.data(), pause ? 1 : polled.size(), pause ? static_cast<int>(absl::ToInt64Milliseconds(kPause)) : -1);
    if (polled[0].revents != 0) return;
    if (std::exchange(pause, false)) continue;
    for (size_t i = 1; i < polled.size(); ++i) {
      if (polled[i].revents != 0 && !AcceptAll(polled[i].fd)) pause = true;
    }
  }
}

bool Acceptor::AcceptAll(int listener) {
  while (true) {
    const int accepted = accept4(listener, nullptr, nullptr, kFlags);
    if (accepted >= 0) {
      const int one = 1;
      // Both fail for unix:, which needs none of them.
      setsockopt(accepted, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
      setsockopt(accepted, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &kUnsentBytes, sizeof(kUnsentBytes));
      if (!on_connection_(accepted)) {
        ++turned_away_;
        LogFailure(EMFILE);
      }
      continue;
    }
    switch (errno) {
      case EAGAIN:
        return true;
      case EMFILE:
      case ENFILE:
        LogFailure(errno);
        if (!TurnAway(listener)) return false;
        continue;
      case EINTR:
      case ECONNABORTED:
      case EPROTO:
        continue;  // of one connection, which is gone
      default:
        LogFailure(errno);
        return false;
    }
  }
}

bool Acceptor::TurnAway(int listener) {
  Close(spare_);
  int accepted = accept4(listener, nullptr, nullptr, kFlags);
  const bool done = accepted >= 0;
  if (done) ++turned_away_;
  Close(accepted);
  spare_ = OpenSpare();
  return done && spare_ >= 0;
}

void Acceptor::LogFailure(int error) {
  const absl::Time now = absl::Now();
  if (now - last_log_ < kLogEvery) return;
  last_log_ = now;
  logger_->error("cannot accept connections: {}; turned away so far: {}; ulimit -n says how many files may be open",
                 std::strerror(error), turned_away_);
}

}  // namespace longtake::server
