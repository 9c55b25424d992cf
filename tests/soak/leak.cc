// The control: loaded into a server by LD_PRELOAD, it leaks LONGTAKE_SOAK_LEAK bytes a second, whatever the server
// does. A clock decides, so the rate is known on a machine of any speed.
#include <pthread.h>

#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>

namespace {

void* Leak(void* argument) {
  const auto bytes = reinterpret_cast<uintptr_t>(argument);
  timespec next;
  clock_gettime(CLOCK_MONOTONIC, &next);
  while (true) {
    // Times of a schedule: a second that comes late, since the machine is busy, is followed by the next one at once.
    ++next.tv_sec;
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, nullptr) == EINTR) {
    }
    void* const lost = std::malloc(bytes);
    if (lost == nullptr) continue;
    std::memset(lost, 1, bytes);                // so that it is resident
    asm volatile("" : : "r"(lost) : "memory");  // the compiler removes an allocation that it sees no use of
  }
}

__attribute__((constructor)) void Start() {
  const char* const text = std::getenv("LONGTAKE_SOAK_LEAK");
  const unsigned long bytes = text == nullptr ? 0 : std::strtoul(text, nullptr, 10);
  if (bytes == 0) {
    std::fputs("LONGTAKE_SOAK_LEAK: is no number of bytes\n", stderr);
    std::exit(1);
  }
  // The server's signals are for its own threads.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_t thread;
  if (pthread_create(&thread, nullptr, Leak, reinterpret_cast<void*>(bytes)) != 0) {
    std::perror("the leak's thread");
    std::exit(1);
  }
  pthread_detach(thread);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

}  // namespace
