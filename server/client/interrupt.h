// Ctrl-C and SIGTERM as a call on an ordinary thread.
#ifndef LONGTAKE_SERVER_CLIENT_INTERRUPT_H_
#define LONGTAKE_SERVER_CLIENT_INTERRUPT_H_

#include <functional>
#include <thread>

namespace longtake::client {

// While it lives, SIGINT and SIGTERM call `on_interrupt` once. Make it before any other thread: they inherit the
// blocked signals.
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

#endif  // LONGTAKE_SERVER_CLIENT_INTERRUPT_H_
