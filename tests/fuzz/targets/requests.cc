// Requests of the gRPC service as bytes of protobuf, and resume tokens. The first line says which.
#include <google/protobuf/stubs/logging.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "longtake/v1/video_service.pb.h"
#include "server/grpc/status.h"
#include "server/grpc/translate.h"
#include "server/grpc/wire.h"
#include "server/video/fork.h"
#include "server/video/request.h"
#include "tests/fuzz/check.h"
#include "tests/fuzz/planning_engine.h"

namespace longtake::server {
namespace {

using fuzz::Check;

const fuzz::PlanningEngine& PlanOf() {
  static const fuzz::PlanningEngine engine;
  return engine;
}

void CheckPlan(const VideoPlan& plan) {
  Check(plan.blocks() > 0 && plan.frames() > 0, "a plan without frames");
  Check(plan.block_starts.size() == plan.block_frames.size() + 1, "a block has no beginning");
  Check(plan.prompts.size() == plan.prompt_blocks.size() + 1, "a prompt has no block");
  Check(std::is_sorted(plan.prompt_blocks.begin(), plan.prompt_blocks.end()), "prompts are out of order");
  for (int block = 0; block < plan.blocks(); ++block) {
    Check(plan.BlockAt(plan.BlockStart(block)) == block, "a block does not begin when it begins");
    Check(plan.PromptAt(block) < static_cast<int>(plan.prompts.size()), "a block has no prompt");
  }
  const VideoInfo info{.name = "videos/0", .plan = std::make_shared<const VideoPlan>(plan)};
  Check(ToProto(info).format().block_frame_counts_size() == plan.blocks(), "the answer has other blocks");
}

void CheckSpec(const v1::VideoSpec& wire_spec, const v1::DeliveryOptions& wire_options) {
  std::vector<FieldError> errors;
  const VideoSpec spec = FromProto(wire_spec, "spec", errors);
  const DeliveryOptions options = FromProto(wire_options, "delivery_options", errors);
  for (const Purpose purpose : {Purpose::kMake, Purpose::kQuote}) {
    const absl::StatusOr<VideoPlan> plan = CheckRequest(spec, options, errors, purpose, PlanOf(), {}, /*fresh_seed=*/7);
    if (plan.ok()) {
      Check(errors.empty(), "a request is accepted in which a field was wrong");
      CheckPlan(*plan);
    } else {
      Check(ToRpc(plan.status()).details_size() > 0, "a refusal has no details");
    }
  }
}

void CheckFork(const v1::ForkVideoRequest& request) {
  static const VideoPlan source =
      *CheckRequest({.prompt = "a red ball", .duration = absl::Seconds(4)}, {}, {}, Purpose::kMake, PlanOf(), {}, 7);
  std::vector<FieldError> errors;
  ForkSpec fork{.name = request.name(), .from_block = request.from_block(), .prompt = request.prompt()};
  for (const v1::PromptChange& change : request.prompt_changes()) {
    fork.prompt_changes.push_back(FromProto(change, "prompt_changes", errors));
  }
  if (request.has_duration()) fork.duration = FromProto(request.duration(), "duration", errors);
  // The studio refuses others before it asks for a spec.
  if (fork.from_block < 0 || fork.from_block >= source.blocks()) return;
  SharedBlocks shared{.latents = source.block_latents};
  const absl::StatusOr<VideoSpec> spec = SpecOfFork(fork, source, source.prompts, shared);
  if (!spec.ok()) return;
  const absl::StatusOr<VideoPlan> plan = CheckRequest(*spec, FromProto(request.delivery_options(), "options", errors),
                                                      errors, Purpose::kMake, PlanOf(), {}, 7);
  if (plan.ok()) {
    CheckPlan(*plan);
  } else {
    (void)ToRpc(RenameFields(plan.status(), shared.prompt_changes));
  }
}

void CheckWatch(const v1::WatchVideoRequest& request) {
  (void)CheckIdentifier("viewer_id", request.viewer_id());
  (void)ParseResumeToken(request.name(), request.resume_token());
}

template <typename Request, typename Body>
void Parsed(std::string_view bytes, Body body) {
  Request request;
  if (request.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) body(request);
}

void ReadRequest(const fuzz::Input& input) {
  if (input.kind == "create") {
    Parsed<v1::CreateVideoRequest>(input.rest, [](const auto& r) { CheckSpec(r.spec(), r.delivery_options()); });
  } else if (input.kind == "fork") {
    Parsed<v1::ForkVideoRequest>(input.rest, CheckFork);
  } else if (input.kind == "watch") {
    Parsed<v1::WatchVideoRequest>(input.rest, CheckWatch);
  } else if (input.kind == "change_prompt") {
    Parsed<v1::ChangePromptRequest>(input.rest, [](const auto& r) {
      std::vector<FieldError> errors;
      const PromptChange change = FromProto(r.change(), "change", errors);
      (void)CheckPrompt("change.prompt", change.prompt, RequestLimits().max_prompt_bytes);
    });
  } else if (input.kind == "playback") {
    Parsed<v1::ReportPlaybackRequest>(input.rest, [](const auto& r) {
      std::vector<FieldError> errors;
      (void)FromProto(r.position_offset(), "position_offset", errors);
    });
  } else if (input.kind == "token") {
    (void)ParseResumeToken("videos/0123456789abcdef", std::string(input.rest));
  }
}

}  // namespace
}  // namespace longtake::server

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // A request that is no UTF-8 would be a line of the log each time.
  static const bool silent = google::protobuf::SetLogHandler(nullptr) != nullptr;
  (void)silent;
  longtake::server::ReadRequest(longtake::fuzz::SplitKind(longtake::fuzz::ToText(data, size)));
  return 0;
}
