// SIGTERM and SIGINT as something to wait for.
#ifndef LONGTAKE_SERVER_END_SIGNALS_H_
#define LONGTAKE_SERVER_END_SIGNALS_H_

#include <signal.h>
#include <time.h>
#include <unistd.h>

namespace longtake::server {

// Make it before any other thread: they inherit the blocked signals.
class EndSignals {
 public:
  EndSignals() {
    sigemptyset(&set_);
    sigaddset(&set_, SIGTERM);
    sigaddset(&set_, SIGINT);
    pthread_sigmask(SIG_BLOCK, &set_, nullptr);
  }

  // Waits for the next one.
  int Wait() {
    int signal = 0;
    sigwait(&set_, &signal);
    return signal;
  }
  // One that has come; 0: none has.
  int Poll() {
    const timespec none = {};
    const int signal = sigtimedwait(&set_, nullptr, &none);
    return signal > 0 ? signal : 0;
  }
  // As if the process had been sent one. Any thread.
  void Raise() { kill(getpid(), SIGINT); }

 private:
  sigset_t set_;
};

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_END_SIGNALS_H_
