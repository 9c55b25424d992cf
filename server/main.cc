// longtake-server: loads a model folder and serves it until SIGTERM or SIGINT.
#include <sys/resource.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <future>
#include <latch>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/exception_status.h"
#include "common/file_limit.h"
#include "common/thread.h"
#include "server/end_signals.h"
#include "server/server.h"
#include "spdlog/logger.h"
#include "spdlog/sinks/stdout_sinks.h"

namespace {

struct Flags {
  longtake::EngineOptions engine;
  longtake::server::ServerOptions server;
  std::optional<int> live_places;
  std::string log_level = "info";
};

// A flag of seconds; its default is what `target` holds.
CLI::Option* AddSeconds(CLI::App& app, const char* name, absl::Duration& target, const char* help) {
  return app
      .add_option_function<double>(
          name, [&target](double seconds) { target = absl::Seconds(seconds); }, help)
      ->default_str(absl::StrCat(absl::ToDoubleSeconds(target)));
}

void AddLifecycleFlags(CLI::App& app, longtake::server::ServerOptions& options) {
  longtake::server::LifecycleOptions& lifecycle = options.lifecycle;
  AddSeconds(app, "--shutdown-grace-seconds", lifecycle.shutdown_grace,
             "After SIGTERM: not ready, but new requests are taken, until balancers have noticed; SIGINT skips it")
      ->check(CLI::NonNegativeNumber);
  AddSeconds(app, "--shutdown-seconds", lifecycle.shutdown_limit, "From SIGTERM or SIGINT to the end of everything")
      ->check(CLI::NonNegativeNumber);
  AddSeconds(app, "--shutdown-reading-seconds", lifecycle.shutdown_reading,
             "The last of these: running videos are ended, and their viewers read what was finished")
      ->check(CLI::NonNegativeNumber);
  longtake::server::KeepaliveOptions& keepalive = options.keepalive;
  AddSeconds(app, "--keepalive-seconds", keepalive.interval, "A client that is silent for so long is pinged")
      ->check(CLI::PositiveNumber);
  AddSeconds(app, "--keepalive-timeout-seconds", keepalive.timeout, "And given up without an answer within so long")
      ->check(CLI::PositiveNumber);
  AddSeconds(app, "--min-client-ping-seconds", keepalive.min_client_interval,
             "Clients that ping more often, without any data between, are disconnected")
      ->check(CLI::PositiveNumber);
  AddSeconds(app, "--stuck-seconds", options.studio.stuck_after,
             "Passes under way for so long, and for --stuck-factor times their prediction, turn health off")
      ->check(CLI::PositiveNumber);
  app.add_option("--stuck-factor", options.studio.stuck_factor, "See --stuck-seconds")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
}

void AddFlags(CLI::App& app, Flags& flags) {
  longtake::server::StudioOptions& studio = flags.server.studio;
  app.add_option("--model", flags.engine.model_dir, "Model folder in diffusers' layout")->required();
  app.add_option("--listen", flags.server.listen, "Address and port to serve on")->capture_default_str();
  app.add_option("--metrics-listen", flags.server.metrics_listen,
                 "Address and port of /metrics, /livez, /readyz and /startupz over HTTP; without it there are none");
  app.add_option("--backend", flags.engine.backend, "cpu, cuda or reference")->capture_default_str();
  app.add_option(
         "--dtype", flags.engine.dtype,
         "auto, float32 or bfloat16; of cuda bfloat16, float8 or nvfp4, which cpu computes too, for evaluations")
      ->capture_default_str();
  app.add_option("--text-dtype", flags.engine.text_dtype, "Of the text encoder: auto (as --dtype), float32 or bfloat16")
      ->capture_default_str();
  app.add_option("--vae-dtype", flags.engine.vae_dtype, "Of the VAE: auto (as --dtype), float32 or bfloat16")
      ->capture_default_str();
  app.add_option("--devices", flags.engine.devices, "Of cuda: which, as the driver counts; sessions share them")
      ->delimiter(',')
      ->capture_default_str();
  app.add_option("--isa", flags.engine.isa, "auto, or the highest instruction set to use")->capture_default_str();
  app.add_option("--threads", flags.engine.threads,
                 "Threads of the engine; 0: one for each physical core, within the cgroup's quota")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--max-sessions", flags.engine.max_sessions, "Videos made at the same time")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--decoder-cache-slots", flags.engine.decoder_cache_slots,
                 "Of these, whose decoder caches are on the device at once; the others' wait in host memory; 0: all")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_flag(
      "--cuda-graphs", flags.engine.cuda_graphs,
      "Launch transformer passes that come again as one CUDA graph; scripts/gpu.sh measures whether that gains");
  app.add_option("--live-places", flags.live_places,
                 "Of them, those that offline requests may not take; default: half of them")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--max-waiting", studio.max_waiting, "Live requests that may wait beyond those; offline as many")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--max-live-load", studio.max_live_load,
                 "Share of the engine that live videos may need to keep up; others wait")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option_function<int64_t>(
         "--keep-mib", [&studio](int64_t mib) { studio.keep_bytes = mib << 20; },
         "Memory for the chunks of videos, in MiB; above it the oldest ended videos lose theirs")
      ->check(CLI::Range(1, 1 << 20))
      ->default_str(absl::StrCat(studio.keep_bytes >> 20));
  AddSeconds(app, "--max-wait-seconds", studio.max_wait,
             "Requests with a longer predicted wait for a place are refused, and those that have waited so long end")
      ->check(CLI::PositiveNumber);
  AddSeconds(app, "--lead-seconds", studio.lead, "So far ahead of its viewer a live video gives way to all other work")
      ->check(CLI::PositiveNumber);
  AddSeconds(app, "--max-lead-seconds", studio.max_lead, "So far ahead it waits, even if there is no other work")
      ->check(CLI::PositiveNumber);
  AddSeconds(app, "--max-unread-seconds", studio.max_unread, "A client that reads nothing for so long is given up")
      ->check(CLI::PositiveNumber);
  app.add_option("--max-batch-passes", studio.max_batch_passes, "Passes that share one batch on the engine")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  AddLifecycleFlags(app, flags.server);
  app.add_option("--log-level", flags.log_level, "debug, info, warn or error")
      ->check(CLI::IsMember({"debug", "info", "warn", "error"}))
      ->capture_default_str();
}

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

}  // namespace

int main(int argc, char** argv) {
  longtake::server::EndSignals signals;

  Flags flags;
  CLI::App app("Serves long generated video over gRPC (longtake.v1).", "longtake-server");
  AddFlags(app, flags);
  CLI11_PARSE(app, argc, argv);
  longtake::server::StudioOptions& studio = flags.server.studio;
  studio.max_sessions = flags.engine.max_sessions;
  studio.live_places = std::min(flags.live_places.value_or(studio.max_sessions / 2), studio.max_sessions);

  spdlog::logger logger("longtake", std::make_shared<spdlog::sinks::stderr_sink_mt>());
  logger.set_pattern("%Y-%m-%dT%H:%M:%S.%e%z level=%l %v");
  logger.set_level(spdlog::level::from_str(flags.log_level));
  logger.flush_on(spdlog::level::info);
  longtake::RaiseFileLimit();

  if (const absl::Status threads = CheckThreads(); !threads.ok()) {
    logger.error("cannot start: {} (ulimit -u, ulimit -v, a pids cgroup)", std::string(threads.message()));
    return 1;
  }
  auto server = longtake::server::Server::Start(flags.server, &logger);
  if (!server.ok()) {
    logger.error("cannot start: {}", std::string(server.status().message()));
    return 1;
  }
  // Ports that the system chose are for scripts to read; stdout holds nothing else.
  std::printf("port=%d metrics_port=%d\n", (*server)->port(), (*server)->metrics_port());
  std::fflush(stdout);

  // Loading happens beside the wait for a signal.
  flags.engine.progress = LogProgress(logger);
  flags.engine.log = [&logger](const std::string& line) { logger.info("engine {}", line); };
  std::promise<bool> outcome;
  std::future<bool> loaded = outcome.get_future();
  absl::StatusOr<std::thread> loading = longtake::StartThread("the thread that loads", [&] {
    const absl::Status status = LoadAndServe(flags.engine, **server);
    if (!status.ok()) {
      logger.error("cannot load: {}", status.ToString());
      signals.Raise();
    }
    outcome.set_value(status.ok());
  });
  if (!loading.ok()) {
    logger.error("cannot load: {}", loading.status().ToString());
    return 1;
  }
  const int signal = signals.Wait();
  (*server)->Stop(/*grace=*/signal == SIGTERM);
  AwaitStopped(**server, signals, flags.server.lifecycle.shutdown_limit, logger);
  // Loading takes minutes for a large model and cannot be interrupted. It has written nothing that must be in order.
  // The thread that failed to load is about to say so.
  if (loaded.wait_for(std::chrono::milliseconds(100)) != std::future_status::ready) _exit(0);
  loading->join();
  return loaded.get() ? 0 : 1;
}
