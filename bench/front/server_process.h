// A server with a fake engine in a process of its own, so that its memory and its time can be told from its clients'.
#ifndef LONGTAKE_BENCH_FRONT_SERVER_PROCESS_H_
#define LONGTAKE_BENCH_FRONT_SERVER_PROCESS_H_

#include <sys/types.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <vector>

#include "absl/time/time.h"
#include "server/server.h"
#include "tests/server/fake_engine.h"

namespace longtake::bench {

// The moment at which a decode gave the frames of a chunk.
struct Decoded {
  int64_t seed = 0;  // of its video
  int chunk = 0;     // of the video
  int64_t nanoseconds = 0;
};

class ServerProcess {
 public:
  // Before the process has any thread. The engine stops before denoising step `stop_before` of all, until told to go
  // on; below 0: never.
  ServerProcess(const FakeEngineOptions& engine, const server::ServerOptions& options, int64_t stop_before = -1);
  ~ServerProcess();  // kills it
  ServerProcess(const ServerProcess&) = delete;
  ServerProcess& operator=(const ServerProcess&) = delete;

  int port() const { return port_; }
  std::vector<Decoded> decoded() const;

  double rss_mib() const;
  struct CpuSeconds {
    double user = 0, system = 0;
  };
  CpuSeconds cpu() const;

  // On the clock of Decoded, which all processes share.
  static int64_t Nanoseconds();

 private:
  struct Shared {
    std::atomic<int> decodes = 0;
    std::array<Decoded, 1 << 16> decoded;
  };
  [[noreturn]] static void Run(FakeEngineOptions engine, server::ServerOptions options, int64_t stop_before,
                               Shared* shared, int out);

  Shared* shared_ = nullptr;
  pid_t pid_ = 0;
  int port_ = 0;
};

}  // namespace longtake::bench

#endif  // LONGTAKE_BENCH_FRONT_SERVER_PROCESS_H_
