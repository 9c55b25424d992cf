#include "clients/cli/commands.h"

#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/str_format.h"
#include "clients/cli/ask.h"
#include "clients/cli/connect.h"
#include "clients/cli/error_text.h"
#include "clients/cli/interrupt.h"
#include "clients/cli/output.h"
#include "clients/cli/progress_bar.h"
#include "clients/cli/proto_time.h"
#include "clients/cli/request.h"
#include "clients/cli/story.h"
#include "longtake/v1/video_service.grpc.pb.h"

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

// Reads a call to its end into the output, and says what happens. `interrupted` ends it.
int Receive(const OutputFlags& flags, grpc::ClientContext& context, const std::atomic<bool>& interrupted,
            grpc::ClientReader<v1::WatchVideoResponse>& reader) {
  const Clock::time_point began = Clock::now();
  Story story;
  ProgressBar bar(isatty(STDERR_FILENO) == 1, flags.quiet);
  Output output(flags.output);
  bool open = false;
  v1::WatchVideoResponse event;
  while (reader.Read(&event)) {
    const double now = SecondsSince(began);
    story.Hear(event, now);
    if (event.has_accepted()) {
      if (!flags.quiet) std::fprintf(stderr, "%s\n", Receipt(event.accepted()).c_str());
      // Not before: a refused request harms no file.
      if (!std::exchange(open, true)) output.Open();
    }
    if (event.has_prompt_changed() && !flags.quiet) {
      if (const std::string note = PromptNote(event.prompt_changed()); !note.empty()) {
        bar.Close();
        std::fprintf(stderr, "%s", note.c_str());
      }
    }
    if (event.has_init_segment()) output.Write(event.init_segment().data());
    if (event.has_chunk()) output.Write(event.chunk().data());
    if (!output.error().empty()) context.TryCancel();
    bar.Show(story, event, now);
  }
  const grpc::Status status = reader.Finish();
  output.Close();
  bar.Close();
  const double total = SecondsSince(began);

  if (flags.json) {
    nlohmann::json summary = story.Summary(total);
    summary["output"] = flags.output;
    summary["status"] = status.error_code();
    std::printf("%s\n", summary.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
  }
  if (!output.error().empty()) return Complain(output.error());
  if (interrupted) {
    Complain("interrupted");
    return kInterrupted;
  }
  if (!status.ok()) return Complain(ErrorText(status));
  if (!flags.quiet) {
    std::fprintf(stderr, "%s: %.2f s of video in %.2f s (%.2fx real time), first chunk after %.2f s, seed %lld\n",
                 output.to_stdout() ? "standard output" : flags.output.c_str(), story.seconds_of_video(), total,
                 story.seconds_of_video() / total, story.first_chunk_seconds(),
                 static_cast<long long>(story.video().spec().seed()));
  }
  return 0;
}

// A call that streams a video, into the output; Ctrl-C ends it.
template <typename Request>
int Stream(const Target& server, const OutputFlags& flags,
           std::unique_ptr<grpc::ClientReader<v1::WatchVideoResponse>> (v1::VideoService::Stub::*method)(
               grpc::ClientContext*, const Request&),
           const Request& request) {
  grpc::ClientContext context;
  std::atomic<bool> interrupted = false;
  const Interrupt interrupt([&] {
    interrupted = true;
    context.TryCancel();
  });
  const auto stub = v1::VideoService::NewStub(Connect(server));
  return Receive(flags, context, interrupted, *(stub.get()->*method)(&context, request));
}

// Nothing: the flags agree.
std::optional<std::string> CheckOutput(const OutputFlags& flags) {
  if (flags.json && flags.output == "-") return "--json: standard output is the video's, by --output -";
  return std::nullopt;
}

}  // namespace

int Generate(const GenerateFlags& flags) {
  v1::GenerateVideoRequest request;
  auto error = CheckOutput(flags.output);
  if (!error.has_value()) error = MakeRequest(flags, *request.mutable_spec(), *request.mutable_delivery_options());
  if (error.has_value()) return Complain(*error);
  if (flags.keep) request.mutable_delivery_options()->set_disconnect_policy(v1::DISCONNECT_POLICY_CONTINUE);
  return Stream(flags.server, flags.output, &v1::VideoService::Stub::GenerateVideo, request);
}

int Watch(const WatchFlags& flags) {
  if (const auto error = CheckOutput(flags.output); error.has_value()) return Complain(*error);
  v1::WatchVideoRequest request;
  request.set_name(VideoName(flags.video));
  if (flags.live) {
    request.mutable_live_edge();
  } else {
    request.set_from_block(flags.from_block);
  }
  request.set_follow(!flags.no_follow);
  return Stream(flags.server, flags.output, &v1::VideoService::Stub::WatchVideo, request);
}

int Fork(const ForkFlags& flags) {
  v1::ForkVideoRequest request;
  v1::VideoSpec spec;
  auto error = CheckOutput(flags.request.output);
  if (!error.has_value()) error = MakeRequest(flags.request, spec, *request.mutable_delivery_options());
  if (error.has_value()) return Complain(*error);
  request.set_name(VideoName(flags.video));
  request.set_from_block(flags.from_block);
  request.set_prompt(spec.prompt());
  *request.mutable_prompt_changes() = spec.prompt_changes();
  if (flags.seconds.has_value()) {
    if (!(std::abs(*flags.seconds) < kLongestSeconds)) {
      return Complain(absl::StrFormat("--seconds: %g is no length", *flags.seconds));
    }
    *request.mutable_duration() = ToProto(*flags.seconds);
  }
  request.mutable_delivery_options()->set_disconnect_policy(flags.request.keep ? v1::DISCONNECT_POLICY_CONTINUE
                                                                               : v1::DISCONNECT_POLICY_CANCEL);
  v1::Video video;
  const auto stub = v1::VideoService::NewStub(Connect(flags.request.server));
  // Its answer waits until the shared blocks are stored.
  const grpc::Status status = Ask(*stub, &v1::VideoService::Stub::ForkVideo, request, video, std::chrono::seconds(60));
  if (!status.ok()) return Complain(ErrorText(status));
  return Watch({.server = flags.request.server, .video = video.name(), .output = flags.request.output});
}

}  // namespace longtake::client
