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
#include "server/client/story.h"

namespace longtake::client {
namespace {

constexpr int kInterrupted = 130;  // 128 + SIGINT, as shells have it

using Clock = std::chrono::steady_clock;

double SecondsSince(Clock::time_point began) { return std::chrono::duration<double>(Clock::now() - began).count(); }

int Complain(const std::string& text) {
  std::fprintf(stderr, "longtake: %s\n", text.c_str());
  return 1;
}

// The flags as a request; an error's text instead where they do not make one. Whether the values make sense, the server
// says.
std::optional<std::string> MakeRequest(const GenerateFlags& flags, v1::GenerateRequest& request) {
  request.set_prompt(flags.prompt);
  request.set_negative_prompt(flags.negative_prompt);
  request.set_seconds(flags.seconds);
  request.set_delivery(flags.offline ? v1::DELIVERY_OFFLINE : v1::DELIVERY_LIVE);
  if (flags.seed.has_value()) request.set_seed(*flags.seed);
  if (!flags.size.empty()) {
    const std::vector<std::string> sides = absl::StrSplit(flags.size, 'x');
    int width = 0, height = 0;
    if (sides.size() != 2 || !absl::SimpleAtoi(sides[0], &width) || !absl::SimpleAtoi(sides[1], &height)) {
      return absl::StrFormat("--size: \"%s\" is not WIDTHxHEIGHT", flags.size);
    }
    request.mutable_size()->set_width(width);
    request.mutable_size()->set_height(height);
  }
  if (!flags.first_image.empty()) {
    std::ifstream file(flags.first_image, std::ios::binary);
    if (!file) return absl::StrFormat("--first-image: cannot read %s", flags.first_image);
    request.set_first_image(std::string(std::istreambuf_iterator<char>(file), {}));
  }
  return std::nullopt;
}

std::string Receipt(const v1::Accepted& accepted) {
  return absl::StrFormat("%s, %dx%d, %.2f s (%d frames at %g a second, %d blocks), seed %d", accepted.model(),
                         accepted.size().width(), accepted.size().height(), accepted.seconds(), accepted.frames(),
                         accepted.frames_per_second(), accepted.block_frames_size(), accepted.seed());
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

int Models(const ModelsFlags& flags) {
  const auto stub = v1::LongtakeService::NewStub(Connect(flags.server));
  const Clock::time_point began = Clock::now();
  v1::ListModelsResponse response;
  grpc::Status status;
  while (true) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(10));
    status = stub->ListModels(&context, {}, &response);
    if (status.error_code() != grpc::StatusCode::UNAVAILABLE || SecondsSince(began) >= flags.wait_seconds) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
  }
  if (!status.ok()) return Complain(ErrorText(status));
  nlohmann::json all = nlohmann::json::array();
  for (const v1::Model& model : response.models()) {
    std::string sizes;
    nlohmann::json size_list = nlohmann::json::array();
    for (const v1::Size& size : model.sizes()) {
      absl::StrAppendFormat(&sizes, "%s%dx%d", sizes.empty() ? "" : ", ", size.width(), size.height());
      size_list.push_back({size.width(), size.height()});
    }
    if (flags.json) {
      all.push_back({{"name", model.name()},
                     {"sizes", size_list},
                     {"fps", model.frames_per_second()},
                     {"max_seconds", model.max_seconds()},
                     {"block_seconds", model.block_seconds()},
                     {"denoise_steps", model.denoise_steps()},
                     {"sampler", model.sampler()},
                     {"numerics_id", model.numerics_id()},
                     {"max_prompt_bytes", model.max_prompt_bytes()},
                     {"accepts_first_image", model.accepts_first_image()},
                     {"accepts_negative_prompt", model.accepts_negative_prompt()},
                     {"switches_prompt", model.switches_prompt()}});
      continue;
    }
    std::printf("%s\n  sizes            %s\n  frames a second  %g\n  longest          %.2f s\n", model.name().c_str(),
                sizes.c_str(), model.frames_per_second(), model.max_seconds());
    if (model.block_seconds() > 0) std::printf("  block            %.2f s\n", model.block_seconds());
    std::printf("  sampler          %s, %d steps a block\n  numerics         %s\n", model.sampler().c_str(),
                model.denoise_steps(), model.numerics_id().c_str());
    std::printf("  first image %s, negative prompt %s, prompt switch %s\n", model.accepts_first_image() ? "yes" : "no",
                model.accepts_negative_prompt() ? "yes" : "no", model.switches_prompt() ? "yes" : "no");
  }
  if (flags.json) std::printf("%s\n", all.dump().c_str());
  return 0;
}

}  // namespace longtake::client
