// longtake-server: loads a model folder and serves it until SIGTERM or SIGINT.
#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <future>
#include <iostream>
#include <latch>
#include <string>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "common/build_info.h"
#include "common/exception_status.h"
#include "common/file_limit.h"
#include "common/thread.h"
#include "server/end_signals.h"
#include "server/server.h"
#include "server/settings.h"
#include "server/telemetry/log_format.h"
#include "spdlog/logger.h"
#include "spdlog/sinks/stdout_sinks.h"

namespace {

// Logs where loading stands: each stage's end, and between them once in two seconds.
auto LogProgress(spdlog::logger& logger) {
  return [&logger, last = absl::InfinitePast()](const std::string& what, uint64_t done, uint64_t total) mutable {
    const absl::Time now = absl::Now();
    if (done < total && now - last < absl::Seconds(2)) return;
    last = now;
    logger.info("loading stage=\"{}\" done_bytes={} total_bytes={}", what, done, total);
  };
}

// Loads on a thread of lower priority, which all of the engine's threads inherit: where they compete with those that
// encode frames and answer clients, these come first, so that a full engine does not delay what is finished. By 5
// steps: the others then get three quarters of a core that both want.
absl::StatusOr<std::unique_ptr<longtake::Engine>> LoadBehindOthers(const longtake::EngineOptions& options) try {
  constexpr int kSteps = 5;
  return std::async(std::launch::async,
                    [&options] {
                      setpriority(PRIO_PROCESS, 0, getpriority(PRIO_PROCESS, 0) + kSteps);  // of this thread: Linux
                      return longtake::Engine::Load(options);
                    })
      .get();
} catch (...) {
  return longtake::StatusOfCurrentException();
}

// gRPC ends the process where it can start no thread; it starts 11 to 14 of them on two cores. So as many are started
// here first, all at once, and joined.
absl::Status CheckThreads() {
  constexpr int kThreads = 14;
  std::latch done(1);
  std::vector<std::thread> threads;
  absl::Status status;
  for (int i = 0; i < kThreads && status.ok(); ++i) {
    absl::StatusOr<std::thread> thread = longtake::StartThread("the server's threads", [&done] { done.wait(); });
    status = thread.status();
    if (thread.ok()) threads.push_back(*std::move(thread));
  }
  done.count_down();
  for (std::thread& thread : threads) thread.join();
  return status;
}

absl::Status LoadAndServe(const longtake::EngineOptions& options, longtake::server::Server& server) try {
  absl::StatusOr<std::unique_ptr<longtake::Engine>> engine = LoadBehindOthers(options);
  if (!engine.ok()) return engine.status();
  server.Serve(*std::move(engine));
  return absl::OkStatus();
} catch (...) {
  return longtake::StatusOfCurrentException();
}

// Waits for the end of a server that was told to stop. A second signal, and a device that does not finish its passes,
// end the process here: nothing is left that could be put in order.
void AwaitStopped(longtake::server::Server& server, longtake::server::EndSignals& signals, absl::Duration limit,
                  spdlog::logger& logger) {
  // At the limit streams are cut; passes under way may take a little longer.
  const absl::Time give_up = absl::Now() + limit + absl::Seconds(1);
  while (!server.AwaitStopped(absl::Milliseconds(20))) {
    if (const int second = signals.Poll(); second != 0) {
      logger.warn("a second signal ends the server at once");
      _exit(128 + second);
    }
    if (absl::Now() < give_up) continue;
    logger.error("passes are still under way: the server ends without them");
    _exit(1);
  }
}

// A connection of gRPC takes two descriptors. The others are for ports, logs, the store's files, Redis and other
// servers: 30 to 40 were open at most in a server that had all of them.
int AffordableConnections(uint64_t files) {
  constexpr uint64_t kOthers = 48, kFewest = 4, kMost = 1'000'000;
  if (files == 0) return kMost;
  return static_cast<int>(std::clamp(files > kOthers ? (files - kOthers) / 2 : 0, kFewest, kMost));
}

}  // namespace

int main(int argc, char** argv) {
  longtake::server::EndSignals signals;
  // Where a file may not become as large as it should (ulimit -f), that write fails, as on a full disk.
  std::signal(SIGXFSZ, SIG_IGN);
  // Debian builds Abseil with its check for deadlocks, which keeps about 500 bytes for each mutex that gRPC locks and
  // does not give them back to the system.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);

  const std::variant<longtake::server::Settings, int> read =
      longtake::server::ReadSettings(argc, argv, longtake::GetBuildInfo(), std::cout, std::cerr);
  if (const int* status = std::get_if<int>(&read)) return *status;
  longtake::server::Settings settings = std::get<longtake::server::Settings>(read);

  spdlog::logger logger("longtake", std::make_shared<spdlog::sinks::stderr_sink_mt>());
  logger.set_formatter(longtake::server::MakeLogFormatter(settings.log_format));
  logger.set_level(spdlog::level::from_str(settings.log_level));
  logger.flush_on(spdlog::level::info);
  logger.info("starting version={} commit={}", settings.server.build.version, settings.server.build.commit);
  int& connections = settings.server.connections.all;
  const int affordable = AffordableConnections(longtake::RaiseFileLimit());
  if (affordable < connections) {
    connections = affordable;
    logger.info("the limit of open files (ulimit -n) leaves room for fewer connections max_connections={}", affordable);
  }

  if (const absl::Status threads = CheckThreads(); !threads.ok()) {
    logger.error("cannot start: {} (ulimit -u, ulimit -v, a pids cgroup)", std::string(threads.message()));
    return 1;
  }
  auto server = longtake::server::Server::Start(settings.server, &logger);
  if (!server.ok()) {
    logger.error("cannot start: {}", std::string(server.status().message()));
    return 1;
  }
  // Ports that the system chose are for scripts to read; stdout holds nothing else.
  std::printf("port=%d metrics_port=%d http_port=%d\n", (*server)->port(), (*server)->metrics_port(),
              (*server)->http_port());
  std::fflush(stdout);

  // Loading happens beside the wait for a signal.
  settings.engine.others_bytes = [sessions = settings.engine.max_sessions,
                                  limits = settings.server.studio.limits](const longtake::ModelInfo& model) {
    return longtake::server::ServerBytes(sessions, model, limits);
  };
  settings.engine.progress = LogProgress(logger);
  settings.engine.log = [&logger](const std::string& line) { logger.info("engine {}", line); };
  std::promise<bool> outcome;
  std::future<bool> loaded = outcome.get_future();
  absl::StatusOr<std::thread> loading = longtake::StartThread("the thread that loads", [&] {
    const absl::Status status = LoadAndServe(settings.engine, **server);
    if (!status.ok()) logger.error("cannot load: {}", status.ToString());
    outcome.set_value(status.ok());  // before the signal, on which the outcome is looked at
    if (!status.ok()) signals.Raise();
  });
  if (!loading.ok()) {
    logger.error("cannot load: {}", loading.status().ToString());
    return 1;
  }
  const int signal = signals.Wait();
  (*server)->Stop(/*grace=*/signal == SIGTERM);
  AwaitStopped(**server, signals, settings.server.lifecycle.shutdown_limit, logger);
  // Loading takes minutes for a large model and cannot be interrupted. It has written nothing that must be in order.
  if (loaded.wait_for(std::chrono::seconds(0)) != std::future_status::ready) _exit(0);
  loading->join();
  return loaded.get() ? 0 : 1;
}
