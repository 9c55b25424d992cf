#include "bench/front/server_process.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <memory>
#include <new>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "engine/core/system_files.h"
#include "spdlog/logger.h"
#include "spdlog/sinks/stdout_sinks.h"

namespace longtake::bench {

int64_t ServerProcess::Nanoseconds() {
  timespec now = {};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}

void ServerProcess::Run(FakeEngineOptions engine, server::ServerOptions options, int64_t stop_before, Shared* shared,
                        int out) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  engine.fail = [shared, chunks = std::map<uint64_t, int>()](const Pass& pass, const SessionSpec& spec) mutable {
    if (pass.kind != PassKind::kDecode) return absl::OkStatus();
    const int at = shared->decodes.load();
    if (at == static_cast<int>(shared->decoded.size())) return absl::OkStatus();
    shared->decoded[at] = {static_cast<int64_t>(spec.seed), chunks[spec.seed]++, Nanoseconds()};
    shared->decodes = at + 1;
    return absl::OkStatus();
  };
  engine.delay = [stop_before, steps = int64_t{0}](const Pass& pass) mutable {
    if (pass.kind == PassKind::kDenoise && steps++ == stop_before) absl::SleepFor(absl::InfiniteDuration());
    return absl::ZeroDuration();
  };
  spdlog::logger logger("server", std::make_shared<spdlog::sinks::stderr_sink_mt>());
  logger.set_level(spdlog::level::warn);
  options.listen = "127.0.0.1:0";
  options.studio.max_sessions = engine.max_sessions;
  options.studio.stuck_after = absl::Hours(24);
  auto server = server::Server::Start(options, &logger);
  if (!server.ok()) {
    logger.error("{}", server.status().ToString());
    _exit(1);
  }
  (*server)->Serve(std::make_unique<FakeEngine>(engine));
  const int port = (*server)->port();
  if (write(out, &port, sizeof(port)) != sizeof(port)) _exit(1);
  while (true) pause();
}

ServerProcess::ServerProcess(const FakeEngineOptions& engine, const server::ServerOptions& options,
                             int64_t stop_before) {
  void* memory = mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  std::array<int, 2> pipe_ends = {};
  if (memory == MAP_FAILED || pipe(pipe_ends.data()) != 0) {
    std::perror("cannot start the server");
    std::exit(1);
  }
  shared_ = new (memory) Shared;
  pid_ = fork();
  if (pid_ == 0) Run(engine, options, stop_before, shared_, pipe_ends[1]);
  close(pipe_ends[1]);
  if (pid_ < 0 || read(pipe_ends[0], &port_, sizeof(port_)) != sizeof(port_)) {
    std::fprintf(stderr, "the server did not start\n");
    std::exit(1);
  }
  close(pipe_ends[0]);
}

ServerProcess::~ServerProcess() {
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
  munmap(shared_, sizeof(Shared));
}

std::vector<Decoded> ServerProcess::decoded() const {
  return {shared_->decoded.begin(), shared_->decoded.begin() + shared_->decodes.load()};
}

double ServerProcess::rss_mib() const {
  constexpr double kMiB = 1 << 20;
  return static_cast<double>(StatusBytes(absl::StrCat("/proc/", pid_, "/status"), "VmRSS:")) / kMiB;
}

ServerProcess::CpuSeconds ServerProcess::cpu() const {
  std::ifstream stat(absl::StrCat("/proc/", pid_, "/stat"));
  std::string skipped;
  for (int i = 0; i < 13; ++i) stat >> skipped;
  double user = 0, system = 0;
  stat >> user >> system;
  const auto ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
  return {user / ticks, system / ticks};
}

}  // namespace longtake::bench
