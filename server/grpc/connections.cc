#include "server/grpc/connections.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <utility>

#include "common/status_macros.h"
#include "common/thread.h"
#include "server/listen/peer.h"

namespace longtake::server {

struct Connections::Open {
  ~Open() {
    if (descriptor >= 0) close(descriptor);
  }
  void BeginCall() {
    const MutexLock lock(mutex);
    if (++calls == 1) entry->SetBusy(true);
  }
  void EndCall() {
    const MutexLock lock(mutex);
    if (--calls == 0) entry->SetBusy(false);
  }
  // gRPC sees that its peer has gone.
  void EndIfIdle() {
    const MutexLock lock(mutex);
    if (calls == 0) shutdown(descriptor, SHUT_RDWR);
  }

  int descriptor = -1;
  std::string peer;
  Mutex mutex;
  std::unique_ptr<ConnectionTable::Entry> entry;
  int calls ABSL_GUARDED_BY(mutex) = 0;
};

absl::StatusOr<std::unique_ptr<Connections>> Connections::Start(ConnectionTable* table) {
  std::unique_ptr<Connections> made(new Connections(table));
  made->epoll_ = epoll_create1(EPOLL_CLOEXEC);
  made->wake_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  epoll_event event = {.events = EPOLLIN, .data = {.fd = made->wake_}};
  if (made->epoll_ < 0 || made->wake_ < 0 || epoll_ctl(made->epoll_, EPOLL_CTL_ADD, made->wake_, &event) != 0) {
    return absl::UnavailableError("listen: there is no descriptor for looking after connections");
  }
  ASSIGN_OR_RETURN(made->thread_, StartThread("connections", [raw = made.get()] { raw->Loop(); }));
  return made;
}

Connections::~Connections() {
  if (thread_.joinable()) {
    eventfd_write(wake_, 1);
    thread_.join();
  }
  if (wake_ >= 0) close(wake_);
  if (epoll_ >= 0) close(epoll_);
}

bool Connections::Add(int descriptor, const std::function<void(int)>& serve) {
  const auto open = std::make_shared<Open>();
  open->descriptor = fcntl(descriptor, F_DUPFD_CLOEXEC, 0);
  const Peer peer = PeerOf(descriptor);
  open->peer = peer.name;
  if (open->descriptor < 0) {
    close(descriptor);
    return false;
  }
  open->entry = table_->Enter(peer.address, [weak = std::weak_ptr<Open>(open)] {
    if (const std::shared_ptr<Open> other = weak.lock(); other != nullptr) other->EndIfIdle();
  });
  if (open->entry == nullptr) {
    close(descriptor);
    return true;
  }
  // Whose calls cannot be told from others' is never idle.
  if (peer.name.empty()) open->BeginCall();
  {
    const MutexLock lock(mutex_);
    open_[open->descriptor] = open;
    if (!peer.name.empty()) by_peer_[peer.name] = open;
  }
  epoll_event event = {.events = EPOLLRDHUP | EPOLLONESHOT, .data = {.fd = open->descriptor}};
  epoll_ctl(epoll_, EPOLL_CTL_ADD, open->descriptor, &event);
  serve(descriptor);
  return true;
}

std::shared_ptr<void> Connections::BeginCall(const std::string& grpc_peer) {
  std::shared_ptr<Open> open;
  {
    const MutexLock lock(mutex_);
    const auto found = by_peer_.find(PeerNameOf(grpc_peer));
    if (found != by_peer_.end()) open = found->second.lock();
  }
  if (open == nullptr) return nullptr;
  open->BeginCall();
  return {open.get(), [open](void*) { open->EndCall(); }};
}

void Connections::Loop() {
  std::array<epoll_event, 64> events;
  while (true) {
    const int count = epoll_wait(epoll_, events.data(), events.size(), -1);
    for (int i = 0; i < count; ++i) {
      const int descriptor = events[static_cast<size_t>(i)].data.fd;
      if (descriptor == wake_) return;
      std::shared_ptr<Open> gone;  // let go without the lock
      const MutexLock lock(mutex_);
      const auto found = open_.find(descriptor);
      if (found == open_.end()) continue;
      gone = std::move(found->second);
      open_.erase(found);
      epoll_ctl(epoll_, EPOLL_CTL_DEL, descriptor, nullptr);
      // Its port may be another connection's by now.
      const auto named = by_peer_.find(gone->peer);
      if (named != by_peer_.end() && named->second.lock() == gone) by_peer_.erase(named);
    }
  }
}

}  // namespace longtake::server
