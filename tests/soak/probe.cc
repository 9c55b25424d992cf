// Loaded into a server by LD_PRELOAD. Whoever connects to the Unix socket at LONGTAKE_SOAK_PROBE gets a line of JSON:
// what of the heap is in use, behind a malloc_trim.
//
// The allocator keeps what has been freed, so the memory of a process neither shrinks with what it uses nor stays level
// where threads come and go. malloc_trim gives the free pages of all arenas back to the kernel: what is resident
// afterwards is in use, or shares a page with what is.
#include <malloc.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

void Answer(int connection) {
  malloc_trim(0);
  const struct mallinfo2 heap = mallinfo2();
  // Blocks that malloc has mapped one by one are not in uordblks.
  dprintf(connection, "{\"heap\": %zu, \"mapped\": %zu}\n", heap.uordblks, heap.hblkhd);
}

void* Serve(void* argument) {
  const int listener = static_cast<int>(reinterpret_cast<intptr_t>(argument));
  for (int connection; (connection = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC)) >= 0; close(connection)) {
    Answer(connection);
  }
  return nullptr;
}

[[noreturn]] void Fail(const char* what) {
  std::perror(what);
  std::exit(1);
}

__attribute__((constructor)) void Start() {
  const char* const path = std::getenv("LONGTAKE_SOAK_PROBE");
  sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = {}};
  if (path == nullptr || std::strlen(path) + 1 >= sizeof(address.sun_path)) {
    std::fputs("LONGTAKE_SOAK_PROBE: is no path of a socket\n", stderr);
    std::exit(1);
  }
  // The path appears when connections are taken, and not with bind: who waits for it comes at once.
  std::memcpy(address.sun_path, path, std::strlen(path));
  address.sun_path[std::strlen(path)] = '~';
  const int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (listener < 0 || bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 ||
      listen(listener, 4) != 0 || std::rename(address.sun_path, path) != 0) {
    Fail("LONGTAKE_SOAK_PROBE");
  }
  // The server's signals are for its own threads.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_t thread;
  if (pthread_create(&thread, nullptr, Serve, reinterpret_cast<void*>(static_cast<intptr_t>(listener))) != 0) {
    Fail("the probe's thread");
  }
  pthread_detach(thread);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

}  // namespace
