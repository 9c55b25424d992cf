#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <fstream>

#include "absl/strings/str_format.h"
#include "clients/cli/commands.h"
#include "clients/cli/connect.h"
#include "clients/cli/error_text.h"
#include "clients/cli/interrupt.h"
#include "clients/cli/load/load_test.h"
#include "common/mutex.h"
#include "longtake/v1/model_service.grpc.pb.h"

namespace longtake::client {
namespace {

constexpr int kInterrupted = 130;  // 128 + SIGINT, as shells have it

int Complain(const std::string& text) {
  std::fprintf(stderr, "longtake: %s\n", text.c_str());
  return 1;
}

// On a terminal one line that changes each second; elsewhere a line in ten seconds.
class ProgressLines {
 public:
  ProgressLines(bool quiet, double duration)
      : quiet_(quiet), terminal_(isatty(STDERR_FILENO) == 1), duration_(duration) {}
  void Show(const LoadProgress& p) {
    if (quiet_ || (!terminal_ && static_cast<int>(p.now) % 10 != 0)) return;
    const std::string line = absl::StrFormat(
        "%3.0f/%.0f s  %d watch, %d wait for a picture, %d offline, %d done, %d refused, %d stalls  %5.2f s of video/s",
        p.now, duration_, p.watching, p.asking, p.offline, p.done, p.refused, p.stalls, p.video);
    std::fprintf(stderr, terminal_ ? "\r%s\033[K" : "%s\n", line.c_str());
    std::fflush(stderr);
    open_ = terminal_;
  }
  void Close() const {
    if (open_) std::fprintf(stderr, "\n");
  }

 private:
  const bool quiet_, terminal_;
  const double duration_;
  bool open_ = false;
};

}  // namespace

int Loadtest(const LoadtestFlags& flags) {
  if (flags.viewers == 0 && flags.rate == 0) return Complain("loadtest needs --viewers or --rate");
  if (flags.mix.longest < flags.mix.shortest) return Complain("--longest: is below --shortest");
  if (flags.warm >= flags.duration) return Complain("--warm: is not below --duration");

  // Before other threads are made; a test that has not begun is ended by it too.
  Mutex mutex;
  LoadTest* running = nullptr;
  bool interrupted = false;
  const Interrupt interrupt([&] {
    const MutexLock lock(mutex);
    interrupted = true;
    if (running != nullptr) running->Interrupt();
  });
  // Whether the server is there is said once, not by each viewer.
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(10));
  v1::ListModelsResponse models;
  const grpc::Status status = v1::ModelService::NewStub(Connect(flags.server))->ListModels(&context, {}, &models);
  if (!status.ok()) return Complain(ErrorText(status));

  ProgressLines lines(flags.quiet, flags.duration);
  LoadTest test(
      {.mix = flags.mix,
       .seed = flags.seed,
       .duration = flags.duration,
       .rate = flags.rate,
       .viewers = flags.viewers,
       .warm = flags.warm},
      [&] { return v1::VideoService::NewStub(Connect(flags.server, /*own=*/true)); },
      [&](const LoadProgress& progress) { lines.Show(progress); });
  {
    const MutexLock lock(mutex);
    running = &test;
    if (interrupted) test.Interrupt();
  }
  nlohmann::json report = test.Run();
  lines.Close();
  {
    const MutexLock lock(mutex);
    running = nullptr;
  }

  report["seed"] = flags.seed;
  report["model"] = models.models_size() > 0 ? models.models(0).name() : "";
  report["numerics_id"] = models.models_size() > 0 ? models.models(0).numerics_id() : "";
  if (flags.viewers > 0) {
    report["asked_viewers"] = flags.viewers;
  } else {
    report["arrivals_per_s"] = flags.rate;
    report["offered_video_s_per_s"] = flags.rate * MeanSeconds(flags.mix);
  }
  std::printf("%s", Table(report).c_str());
  if (!flags.json.empty()) {
    std::ofstream file(flags.json);
    file << report.dump(1, ' ', false, nlohmann::json::error_handler_t::replace) << '\n';
    if (!file.flush()) return Complain(absl::StrFormat("cannot write %s", flags.json));
  }
  return interrupted ? kInterrupted : 0;
}

}  // namespace longtake::client
