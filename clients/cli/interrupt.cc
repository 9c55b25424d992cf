#include "clients/cli/interrupt.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <utility>

namespace longtake::client {

Interrupt::Interrupt(std::function<void()> on_interrupt) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGUSR1);  // the destructor's, to wake the thread
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  thread_ = std::thread([set, on_interrupt = std::move(on_interrupt)] {
    int signal = 0;
    sigwait(&set, &signal);
    if (signal == SIGUSR1) return;
    on_interrupt();
    sigwait(&set, &signal);
    if (signal != SIGUSR1) _exit(128 + signal);
  });
}

Interrupt::~Interrupt() {
  pthread_kill(thread_.native_handle(), SIGUSR1);
  thread_.join();
}

}  // namespace longtake::client
