// Ctrl-C and SIGTERM as a call on an ordinary thread.
#ifndef LONGTAKE_CLIENTS_CLI_INTERRUPT_H_
#define LONGTAKE_CLIENTS_CLI_INTERRUPT_H_

#include <functional>
#include <thread>

namespace longtake::client {

// While it lives, the first SIGINT or SIGTERM calls `on_interrupt`; the second ends the process at once, with 128 and
// the signal's number as its status. Make it before any other thread: they inherit the blocked signals.
class Interrupt {
 public:
  explicit Interrupt(std::function<void()> on_interrupt);
  ~Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;

 private:
  std::thread thread_;
};

}  // namespace longtake::client

#endif  // LONGTAKE_CLIENTS_CLI_INTERRUPT_H_
