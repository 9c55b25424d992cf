// The commands that ask one thing.
#include <grpcpp/grpcpp.h>

#include <chrono>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"
#include "clients/cli/ask.h"
#include "clients/cli/commands.h"
#include "clients/cli/connect.h"
#include "clients/cli/error_text.h"
#include "clients/cli/proto_time.h"
#include "clients/cli/request.h"
#include "longtake/v1/model_service.grpc.pb.h"
#include "longtake/v1/video_service.grpc.pb.h"

namespace longtake::client {
namespace {

// As --decoder names them.
std::vector<std::string> Decoders(const v1::Model& model) {
  std::vector<std::string> names;
  for (const int decoder : model.decoders()) {
    if (decoder == v1::DECODER_FULL) names.emplace_back("full");
    if (decoder == v1::DECODER_TINY) names.emplace_back("tiny");
  }
  return names;
}

}  // namespace

int Models(const ModelsFlags& flags) {
  const auto stub = v1::ModelService::NewStub(Connect(flags.server));
  const auto began = std::chrono::steady_clock::now();
  v1::ListModelsResponse response;
  grpc::Status status;
  while (true) {
    status = Ask(*stub, &v1::ModelService::Stub::ListModels, {}, response);
    // A server that starts on a busy machine may also take a call and not answer in time.
    const bool not_yet = status.error_code() == grpc::StatusCode::UNAVAILABLE ||
                         status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED;
    if (!not_yet || std::chrono::steady_clock::now() - began >= std::chrono::duration<double>(flags.wait_seconds))
      break;
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
  }
  if (!status.ok()) return Complain(ErrorText(status));
  nlohmann::json all = nlohmann::json::array();
  for (const v1::Model& model : response.models()) {
    const double fps = FramesPerSecond(model.frame_rate()), longest = Seconds(model.max_duration());
    const double block = Seconds(model.block_duration());
    std::string sizes;
    nlohmann::json size_list = nlohmann::json::array();
    for (const v1::Size& size : model.sizes()) {
      absl::StrAppendFormat(&sizes, "%s%dx%d", sizes.empty() ? "" : ", ", size.width(), size.height());
      size_list.push_back({size.width(), size.height()});
    }
    if (flags.json) {
      all.push_back({{"name", model.name()},
                     {"sizes", size_list},
                     {"fps", fps},
                     {"max_seconds", longest},
                     {"block_seconds", block},
                     {"denoise_steps", model.denoise_steps()},
                     {"sampler", model.sampler()},
                     {"numerics_id", model.numerics_id()},
                     {"max_prompt_bytes", model.max_prompt_bytes()},
                     {"accepts_first_image", model.accepts_first_image()},
                     {"accepts_negative_prompt", model.accepts_negative_prompt()},
                     {"switches_prompt", model.switches_prompt()},
                     {"adapters", std::vector<std::string>(model.adapters().begin(), model.adapters().end())},
                     {"decoders", Decoders(model)},
                     {"about", model.about()},
                     {"examples", std::vector<std::string>(model.examples().begin(), model.examples().end())},
                     {"step_ladder", std::vector<int>(model.step_ladder().begin(), model.step_ladder().end())}});
      continue;
    }
    std::printf("%s\n  sizes            %s\n  frames a second  %g\n  longest          %.2f s\n", model.name().c_str(),
                sizes.c_str(), fps, longest);
    if (block > 0) std::printf("  block            %.2f s\n", block);
    std::printf("  sampler          %s, %d steps a block\n  numerics         %s\n", model.sampler().c_str(),
                model.denoise_steps(), model.numerics_id().c_str());
    std::printf("  first image %s, negative prompt %s, prompt switch %s\n", model.accepts_first_image() ? "yes" : "no",
                model.accepts_negative_prompt() ? "yes" : "no", model.switches_prompt() ? "yes" : "no");
    std::printf("  decoders         %s\n", absl::StrJoin(Decoders(model), ", ").c_str());
    for (const std::string& adapter : model.adapters()) std::printf("  adapter          %s\n", adapter.c_str());
    if (!model.about().empty()) std::printf("  knows            %s\n", model.about().c_str());
    for (const std::string& example : model.examples()) std::printf("  example          %s\n", example.c_str());
  }
  if (flags.json) std::printf("%s\n", all.dump().c_str());
  return 0;
}

int Quote(const GenerateFlags& flags) {
  v1::QuoteVideoRequest request;
  if (const auto error = MakeRequest(flags, *request.mutable_spec(), *request.mutable_delivery_options());
      error.has_value()) {
    return Complain(*error);
  }
  v1::QuoteVideoResponse response;
  const auto stub = v1::VideoService::NewStub(Connect(flags.server));
  const grpc::Status status = Ask(*stub, &v1::VideoService::Stub::QuoteVideo, request, response);
  if (!status.ok()) return Complain(ErrorText(status));
  const v1::Quote& quote = response.quote();
  const bool admitted = !response.has_refusal();
  if (flags.output.json) {
    nlohmann::json out = {
        {"admitted", admitted}, {"confidence", quote.kept_ratio()}, {"queue_length", quote.queue_length()}};
    if (quote.has_first_chunk_delay()) {
      out["start_seconds"] = Seconds(quote.start_delay());
      out["first_chunk_seconds"] = Seconds(quote.first_chunk_delay());
      out["last_chunk_seconds"] = Seconds(quote.last_chunk_delay());
    }
    if (!admitted) out["retry_after_seconds"] = Seconds(response.refusal().retry_delay());
    std::printf("%s\n", out.dump().c_str());
    return 0;
  }
  if (!admitted) {
    std::printf("would be refused; try again in %.1f s\n", Seconds(response.refusal().retry_delay()));
  } else if (!quote.has_first_chunk_delay()) {
    std::printf("would be accepted; the server has not yet measured its passes\n");
  } else {
    std::printf("first chunk within %.2f s, the last within %.2f s (confidence %.2f)\n",
                Seconds(quote.first_chunk_delay()), Seconds(quote.last_chunk_delay()), quote.kept_ratio());
  }
  std::printf("such requests waiting: %d\n", quote.queue_length());
  return 0;
}

int ChangePrompt(const PromptFlags& flags) {
  v1::ChangePromptRequest request;
  request.set_name(VideoName(flags.video));
  request.mutable_change()->set_prompt(flags.prompt);
  if (flags.at == 0) {
    request.mutable_change()->mutable_next_block();
  } else {
    *request.mutable_change()->mutable_at_offset() = ToProto(flags.at);
  }
  v1::ChangePromptResponse response;
  const auto stub = v1::VideoService::NewStub(Connect(flags.server));
  const grpc::Status status = Ask(*stub, &v1::VideoService::Stub::ChangePrompt, request, response);
  if (!status.ok()) return Complain(ErrorText(status));
  std::printf("prompt %d holds from %.2f s on (block %d)\n", response.receipt().prompt(),
              Seconds(response.receipt().pts_offset()), response.receipt().block());
  return 0;
}

int Link(const LinkFlags& flags) {
  v1::CreateViewingLinkRequest request;
  request.set_name(VideoName(flags.video));
  if (!flags.duration.empty()) {
    absl::Duration duration;
    if (!absl::ParseDuration(flags.duration, &duration) || duration == absl::InfiniteDuration()) {
      return Complain(absl::StrCat("--for: \"", flags.duration, "\" is no duration such as 90s, 30m or 1h"));
    }
    *request.mutable_duration() = ToProto(absl::ToDoubleSeconds(duration));
  }
  v1::CreateViewingLinkResponse response;
  const auto stub = v1::VideoService::NewStub(Connect(flags.server));
  const grpc::Status status = Ask(*stub, &v1::VideoService::Stub::CreateViewingLink, request, response);
  if (!status.ok()) return Complain(ErrorText(status));
  const std::string expires =
      absl::FormatTime(absl::RFC3339_sec, absl::FromUnixSeconds(response.expire_time().seconds()), absl::UTCTimeZone());
  const auto address = [&](const char* before, const char* after) {
    return absl::StrCat(absl::StripSuffix(flags.base_url, "/"), before, request.name(), after,
                        "?link=", response.link());
  };
  const std::string page = address("/#", ""), stream = address("/v1/", "/stream.mp4"),
                    playlist = address("/v1/", "/index.m3u8");
  if (flags.json) {
    const nlohmann::json out = {
        {"link", response.link()}, {"expires", expires}, {"page", page}, {"stream", stream}, {"playlist", playlist}};
    std::printf("%s\n", out.dump().c_str());
    return 0;
  }
  std::printf("page      %s\nfile      %s\nplaylist  %s\nexpires   %s\n", page.c_str(), stream.c_str(),
              playlist.c_str(), expires.c_str());
  return 0;
}

}  // namespace longtake::client
