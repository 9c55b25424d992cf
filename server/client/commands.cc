#include "server/client/commands.h"

#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <memory>

#include "absl/strings/str_format.h"
#include "longtake/v1/video_service.grpc.pb.h"
#include "server/client/connect.h"
#include "server/client/error_text.h"
#include "server/client/interrupt.h"
#include "server/client/progress_bar.h"
#include "server/client/proto_time.h"
#include "server/client/request.h"
#include "server/client/story.h"

namespace longtake::client {
namespace {

constexpr int kInterrupted = 130;  // 128 + SIGINT, as shells have it

using Clock = std::chrono::steady_clock;

double SecondsSince(Clock::time_point began) { return std::chrono::duration<double>(Clock::now() - began).count(); }

std::string Receipt(const v1::Accepted& accepted) {
  const v1::Video& video = accepted.video();
  const v1::VideoFormat& format = video.format();
  std::string text = absl::StrFormat(
      "%s: %s, %dx%d, %.2f s (%d frames at %g a second, %d blocks), seed %d", video.name(), video.spec().model(),
      format.size().width(), format.size().height(), Seconds(format.duration()), format.frame_count(),
      FramesPerSecond(format.frame_rate()), format.block_frame_counts_size(), video.spec().seed());
  if (accepted.quote().has_first_chunk_delay()) {
    absl::StrAppendFormat(&text, "; first chunk within %.2f s, the last within %.2f s",
                          Seconds(accepted.quote().first_chunk_delay()), Seconds(accepted.quote().last_chunk_delay()));
  }
  return text;
}

// What is to be said about a prompt that has been encoded; empty: nothing.
std::string PromptNote(const v1::PromptChanged& changed) {
  std::string text;
  if (changed.prompt() > 0) {
    text = absl::StrFormat("prompt %d holds from %.2f s on (block %d)\n", changed.prompt(),
                           Seconds(changed.pts_offset()), changed.block());
  }
  if (changed.tokens().used() < changed.tokens().given()) {
    absl::StrAppendFormat(&text, "prompt %d is too long: the model sees %d of its %d tokens\n", changed.prompt(),
                          changed.tokens().used(), changed.tokens().given());
  }
  return text;
}

}  // namespace

int Generate(const GenerateFlags& flags) {
  v1::GenerateVideoRequest request;
  if (const auto error = MakeRequest(flags, *request.mutable_spec(), *request.mutable_delivery_options());
      error.has_value()) {
    return Complain(*error);
  }

  grpc::ClientContext context;
  std::atomic<bool> interrupted = false;
  const Interrupt interrupt([&] {
    interrupted = true;
    context.TryCancel();
  });
  const auto stub = v1::VideoService::NewStub(Connect(flags.server));
  const Clock::time_point began = Clock::now();
  auto reader = stub->GenerateVideo(&context, request);

  Story story;
  ProgressBar bar(isatty(STDERR_FILENO) == 1, flags.quiet);
  std::ofstream file;
  bool file_failed = false;
  v1::WatchVideoResponse event;
  while (reader->Read(&event)) {
    const double now = SecondsSince(began);
    story.Hear(event, now);
    if (event.has_accepted()) {
      if (!flags.quiet) std::fprintf(stderr, "%s\n", Receipt(event.accepted()).c_str());
      file.open(flags.output, std::ios::binary | std::ios::trunc);  // not before: a refused request harms no file
    }
    if (event.has_prompt_changed() && !flags.quiet) {
      if (const std::string note = PromptNote(event.prompt_changed()); !note.empty()) {
        bar.Close();
        std::fprintf(stderr, "%s", note.c_str());
      }
    }
    if (event.has_init_segment()) file << event.init_segment().data();
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
    std::fprintf(stderr, "%s: %.2f s of video in %.2f s (%.2fx real time), first chunk after %.2f s, seed %lld\n",
                 flags.output.c_str(), story.seconds_of_video(), total, story.seconds_of_video() / total,
                 story.first_chunk_seconds(), static_cast<long long>(story.video().spec().seed()));
  }
  return 0;
}

}  // namespace longtake::client
