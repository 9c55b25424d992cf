// longtake-frontbench: what the front costs, with an engine that costs nothing: memory of idle watchers, throughput of
// chunks that are ready, latency that it adds to a chunk. Over loopback, client and server on the same cores.
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <array>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "bench/front/reader.h"
#include "bench/front/server_process.h"
#include "common/file_limit.h"
#include "common/mutex.h"
#include "common/percentile.h"
#include "longtake/v1/video_service.grpc.pb.h"

namespace longtake::bench {
namespace {

using SteadyClock = std::chrono::steady_clock;

double Since(SteadyClock::time_point began) {
  return std::chrono::duration<double>(SteadyClock::now() - began).count();
}

void Sleep(double seconds) { std::this_thread::sleep_for(std::chrono::duration<double>(seconds)); }

[[noreturn]] void Fail(const std::string& what) {
  std::fprintf(stderr, "error: %s\n", what.c_str());
  std::exit(1);
}

// Every connection is a descriptor here and one in the server, which inherits the limit.
void MakeRoomFor(int connections) {
  const uint64_t limit = RaiseFileLimit();
  if (limit < static_cast<uint64_t>(connections) + 100) {
    Fail(absl::StrCat("ulimit -n is ", limit, "; ", connections, " connections need more"));
  }
}

std::string Create(int port, double seconds, int64_t seed) {
  v1::CreateVideoRequest request;
  request.mutable_spec()->set_prompt("a red ball");
  request.mutable_spec()->set_seed(seed);
  request.mutable_spec()->mutable_duration()->set_nanos(static_cast<int>(std::fmod(seconds, 1) * 1e9));
  request.mutable_spec()->mutable_duration()->set_seconds(static_cast<int64_t>(seconds));
  request.mutable_delivery_options()->set_disconnect_policy(v1::DISCONNECT_POLICY_CONTINUE);
  grpc::ClientContext context;
  v1::Video video;
  const grpc::Status status = v1::VideoService::NewStub(Connect(port))->CreateVideo(&context, request, &video);
  if (!status.ok()) Fail(status.error_message());
  return video.name();
}

std::string WatchRequest(const std::string& name) {
  v1::WatchVideoRequest request;
  request.set_name(name);
  return request.SerializeAsString();
}

// Everything but the server's answers to a silence of 10 s is over: the first block has been read, the next one is
// not made.
void Idle(int watchers) {
  MakeRoomFor(watchers);
  const ServerProcess process({.model = FakeModel()}, {}, /*stop_before=*/3);
  const std::string request = WatchRequest(Create(process.port(), 10, 1));
  Sleep(1);
  const double before = process.rss_mib();
  std::atomic<int> attached = 0;
  std::vector<std::unique_ptr<Reader>> readers;
  const SteadyClock::time_point began = SteadyClock::now();
  for (int i = 0; i < watchers; ++i) {
    readers.push_back(std::make_unique<Reader>(
        Connect(process.port()), "WatchVideo", request,
        [&attached, first = true](grpc::ByteBuffer&) mutable { attached += std::exchange(first, false) ? 1 : 0; }));
    while (i - attached > 100) Sleep(0.001);  // or the queue of the listening socket overflows
  }
  while (attached < watchers && Since(began) < 300) Sleep(0.01);
  if (attached < watchers) Fail(absl::StrCat("only ", attached.load(), " watchers were served"));
  const double took = Since(began);
  const ServerProcess::CpuSeconds cpu = process.cpu();
  Sleep(20);  // each silence is broken once or twice
  const ServerProcess::CpuSeconds later = process.cpu();
  const double after = process.rss_mib();
  std::printf(
      "idle: %d watchers on %d connections, attached in %.1f s: server %.0f MiB, %.0f MiB before, %.1f KiB each; "
      "%.1f %% of a core\n",
      watchers, watchers, took, after, before, (after - before) * 1024 / watchers,
      100 * (later.user + later.system - cpu.user - cpu.system) / 20);
  for (const auto& reader : readers) reader->Cancel();
  for (const auto& reader : readers) reader->AwaitDone();
}

// What the kernel alone moves over loopback, from one process to another, in writes as large as a message.
double PlainTcp(double seconds) {
  std::array<int, 2> pair = {};
  const int listener = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  auto* const plain = reinterpret_cast<sockaddr*>(&address);
  if (bind(listener, plain, size) != 0 || listen(listener, 1) != 0) Fail("cannot listen");
  getsockname(listener, plain, &size);
  const pid_t writer = fork();
  std::vector<char> buffer(1 << 20, 'x');
  if (writer == 0) {
    pair[0] = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(pair[0], plain, size) != 0) _exit(1);
    while (send(pair[0], buffer.data(), buffer.size(), MSG_NOSIGNAL) > 0) {
    }
    _exit(0);
  }
  pair[1] = accept(listener, nullptr, nullptr);
  double bytes = 0;
  const SteadyClock::time_point began = SteadyClock::now();
  while (Since(began) < seconds) {
    const ssize_t got = recv(pair[1], buffer.data(), buffer.size(), 0);
    if (got <= 0) Fail("plain TCP ended");
    bytes += static_cast<double>(got);
  }
  const double rate = bytes / Since(began) / (1 << 30);
  close(pair[1]);
  close(listener);
  waitpid(writer, nullptr, 0);
  return rate;
}

void Throughput(int viewers, double seconds) {
  const double plain = PlainTcp(2);
  FakeEngineOptions engine{.model = FakeModel(), .noisy = true};
  engine.model.sizes = {{320, 240}};
  engine.model.frame_tokens = {300};
  const ServerProcess process(engine, {});
  std::vector<std::string> requests;
  for (int i = 0; i < 2; ++i) {
    requests.push_back(WatchRequest(Create(process.port(), 10, i + 1)));
    // To its end, so that it is made.
    Reader filling(Connect(process.port()), "WatchVideo", requests.back(), [](grpc::ByteBuffer&) {});
    if (const grpc::Status status = filling.AwaitDone(); !status.ok()) Fail(status.error_message());
  }
  std::atomic<int64_t> bytes = 0, videos = 0;
  std::atomic<bool> stop = false;
  std::vector<std::thread> threads;
  const ServerProcess::CpuSeconds before = process.cpu();
  rusage client_before = {}, client_after = {};
  getrusage(RUSAGE_SELF, &client_before);
  const SteadyClock::time_point began = SteadyClock::now();
  for (int i = 0; i < viewers; ++i) {
    threads.emplace_back([&, i] {
      const auto channel = Connect(process.port());
      while (!stop) {
        Reader reader(channel, "WatchVideo", requests[i % requests.size()],
                      [&](grpc::ByteBuffer& message) { bytes += static_cast<int64_t>(message.Length()); });
        if (const grpc::Status status = reader.AwaitDone(); !status.ok()) Fail(status.error_message());
        ++videos;
      }
    });
  }
  Sleep(seconds);
  const double rate = static_cast<double>(bytes) / Since(began) / (1 << 30);
  const double took = Since(began);
  const ServerProcess::CpuSeconds after = process.cpu();
  getrusage(RUSAGE_SELF, &client_after);
  stop = true;
  for (std::thread& thread : threads) thread.join();
  const auto cores = [took](const timeval& from, const timeval& to) {
    return (static_cast<double>(to.tv_sec - from.tv_sec) + static_cast<double>(to.tv_usec - from.tv_usec) * 1e-6) /
           took;
  };
  std::printf(
      "throughput: %d viewers: %.2f GiB/s in chunks of ready videos (%lld videos); plain TCP %.2f GiB/s\n"
      "  cores: server %.2f in user space, %.2f in the kernel; clients %.2f, %.2f\n",
      viewers, rate, static_cast<long long>(videos), plain, (after.user - before.user) / took,
      (after.system - before.system) / took, cores(client_before.ru_utime, client_after.ru_utime),
      cores(client_before.ru_stime, client_after.ru_stime));
}

// From the moment at which the engine has a chunk's frames until its client has the chunk: encoding, the log, the front
// and loopback.
void Latency(int viewers, int rounds) {
  const ServerProcess process({.model = FakeModel(),
                               .max_sessions = viewers,
                               .denoise = absl::Milliseconds(4),
                               .commit = absl::Milliseconds(2),
                               .decode = absl::Milliseconds(2)},
                              {});
  Mutex mutex;
  std::map<std::pair<int64_t, int>, int64_t> arrived;  // by seed and chunk
  for (int round = 0; round < rounds; ++round) {
    std::vector<std::unique_ptr<Reader>> readers;
    for (int i = 0; i < viewers; ++i) {
      const int64_t seed = round * viewers + i + 1;
      v1::GenerateVideoRequest request;
      request.mutable_spec()->set_prompt("a red ball");
      request.mutable_spec()->set_seed(seed);
      request.mutable_spec()->mutable_duration()->set_seconds(10);
      readers.push_back(std::make_unique<Reader>(
          Connect(process.port()), "GenerateVideo", request.SerializeAsString(),
          [&, seed, chunk = 0](grpc::ByteBuffer& message) mutable {
            const int64_t now = ServerProcess::Nanoseconds();
            v1::WatchVideoResponse event;
            if (!grpc::SerializationTraits<v1::WatchVideoResponse>::Deserialize(&message, &event).ok()) return;
            if (!event.has_chunk()) return;
            const MutexLock lock(mutex);
            arrived[{seed, chunk++}] = now;
          }));
    }
    for (const auto& reader : readers) {
      if (const grpc::Status status = reader->AwaitDone(); !status.ok()) Fail(status.error_message());
    }
  }
  std::vector<double> latencies;  // milliseconds
  for (const Decoded& decoded : process.decoded()) {
    const auto found = arrived.find({decoded.seed, decoded.chunk});
    if (found == arrived.end()) continue;
    latencies.push_back(static_cast<double>(found->second - decoded.nanoseconds) * 1e-6);
  }
  if (latencies.empty()) Fail("no chunk arrived");
  const auto at = [&](double share) { return Percentile(latencies, share); };
  std::printf("latency: %d viewers, %zu chunks: median %.2f ms, p95 %.2f ms, p99 %.2f ms, worst %.2f ms\n", viewers,
              latencies.size(), at(0.5), at(0.95), at(0.99), at(1));
}

}  // namespace
}  // namespace longtake::bench

int main(int argc, char** argv) {
  CLI::App app("Measures the server's front with a fake engine.", "longtake-frontbench");
  app.require_subcommand(1);
  int watchers = 5000, viewers = 4, rounds = 20;
  double seconds = 5;
  CLI::App* idle = app.add_subcommand("idle", "Memory of watchers that have nothing to read");
  idle->add_option("--watchers", watchers, "Each on a connection of its own")->capture_default_str();
  CLI::App* throughput = app.add_subcommand("throughput", "Bytes a second of chunks that are ready");
  throughput->add_option("--viewers", viewers, "At the same time")->capture_default_str();
  throughput->add_option("--seconds", seconds, "To measure")->capture_default_str();
  const CLI::App* latency = app.add_subcommand("latency", "From decoded frames to a chunk at its client");
  app.get_subcommand("latency")->add_option("--viewers", viewers, "At the same time")->capture_default_str();
  app.get_subcommand("latency")->add_option("--rounds", rounds, "Of videos of 10 s")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  if (*idle) longtake::bench::Idle(watchers);
  if (*throughput) longtake::bench::Throughput(viewers, seconds);
  if (*latency) longtake::bench::Latency(viewers, rounds);
  return 0;
}
