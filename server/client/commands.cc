#include "server/client/commands.h"

#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <memory>
#include <thread>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "longtake/v1/longtake.grpc.pb.h"
#include "server/client/connect.h"
#include "server/client/error_text.h"
#include "server/client/interrupt.h"
#include "server/client/progress_bar.h"
#include "server/client/request.h"
#include "server/client/story.h"

namespace longtake::client {
namespace {

constexpr int kInterrupted = 130;  // 128 + SIGINT, as shells have it

using Clock = std::chrono::steady_clock;

double SecondsSince(Clock::time_point began) { return std::chrono::duration<double>(Clock::now() - began).count(); }

std::string Receipt(const v1::Accepted& accepted) {
  std::string text =
      absl::StrFormat("video %d: %s, %dx%d, %.2f s (%d frames at %g a second, %d blocks), seed %d", accepted.id(),
                      accepted.model(), accepted.size().width(), accepted.size().height(), accepted.seconds(),
                      accepted.frames(), accepted.frames_per_second(), accepted.block_frames_size(), accepted.seed());
  if (accepted.quote().has_first_chunk_seconds()) {
    absl::StrAppendFormat(&text, "; first chunk within %.2f s, the last within %.2f s",
                          accepted.quote().first_chunk_seconds(), accepted.quote().last_chunk_seconds());
  }
  return text;
}

}  // namespace

int Generate(const GenerateFlags& flags) {
  v1::GenerateRequest request;
  if (const auto error = MakeRequest(flags, request); error.has_value()) return Complain(*error);

  grpc::ClientContext context;
  std::atomic<bool> interrupted = false;
  const Interrupt interrupt([&] {
    interrupted = true;
    context.TryCancel();
  });
  const auto stub = v1::LongtakeService::NewStub(Connect(flags.server));
  const Clock::time_point began = Clock::now();
  auto reader = stub->Generate(&context, request);

  Story story;
  ProgressBar bar(isatty(STDERR_FILENO) == 1, flags.quiet);
  std::ofstream file;
  bool file_failed = false;
  v1::GenerateEvent event;
  while (reader->Read(&event)) {
    const double now = SecondsSince(began);
    story.Hear(event, now);
    if (event.has_accepted()) {
      if (!flags.quiet) std::fprintf(stderr, "%s\n", Receipt(event.accepted()).c_str());
      file.open(flags.output, std::ios::binary | std::ios::trunc);  // not before: a refused request harms no file
    }
    if (event.has_prompt_changed() && !flags.quiet) {
      bar.Close();
      std::fprintf(stderr, "prompt %d holds from %.2f s on (block %d)\n", event.prompt_changed().prompt(),
                   event.prompt_changed().first_pts_seconds(), event.prompt_changed().block());
    }
    if (event.has_chunk()) file << event.chunk().data() << std::flush;
    if (!file && !file_failed) {
      file_failed = true;
      context.TryCancel();
    }
    bar.Show(story, event, now);
  }
  const grpc::Status status = reader->Finish();
  bar.Close();
  const double total = SecondsSince(began);

  if (flags.json) {
    nlohmann::json summary = story.Summary(total);
    summary["output"] = flags.output;
    summary["status"] = status.error_code();
    std::printf("%s\n", summary.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
  }
  if (file_failed) return Complain(absl::StrFormat("cannot write %s", flags.output));
  if (interrupted) {
    Complain("interrupted");
    return kInterrupted;
  }
  if (!status.ok()) return Complain(ErrorText(status));
  if (!flags.quiet) {
    std::fprintf(stderr, "%s: %.2f s of video in %.2f s (%.2fx real time), first chunk after %.2f s, seed %llu\n",
                 flags.output.c_str(), story.seconds_of_video(), total, story.seconds_of_video() / total,
                 story.first_chunk_seconds(), static_cast<unsigned long long>(story.accepted().seed()));
  }
  return 0;
}

}  // namespace longtake::client
