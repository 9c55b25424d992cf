#include "server/http/video_json.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"

namespace longtake::server {
namespace {

using nlohmann::json;

double Seconds(absl::Duration duration) { return absl::ToDoubleSeconds(duration); }

std::string ToText(const Size& size) { return absl::StrCat(size.width, "x", size.height); }

const char* StatusOf(State state) {
  switch (state) {
    case State::kQueued:
      return "queued";
    case State::kPlaced:
    case State::kMaking:
    case State::kPaused:
      return "in_progress";
    case State::kMade:
      return "completed";
    case State::kFailed:
      return "failed";
    case State::kCancelled:
      return "cancelled";
  }
  return "failed";
}

int HttpStatusOf(const absl::Status& error) {
  if (DetailsOf(error).reason == Reason::kBlockNotKept) return 410;
  switch (error.code()) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kOutOfRange:
      return 400;
    case absl::StatusCode::kUnauthenticated:
      return 401;
    case absl::StatusCode::kPermissionDenied:
      return 403;
    case absl::StatusCode::kNotFound:
      return 404;
    case absl::StatusCode::kAlreadyExists:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kAborted:
    case absl::StatusCode::kCancelled:
      return 409;
    case absl::StatusCode::kResourceExhausted:
      return 429;
    case absl::StatusCode::kUnimplemented:
      return 501;
    case absl::StatusCode::kUnavailable:
      return 503;
    case absl::StatusCode::kDeadlineExceeded:
      return 504;
    default:
      return 500;
  }
}

const char* TypeOf(int status) {
  return status == 401   ? "authentication_error"
         : status == 429 ? "rate_limit_error"
         : status < 500  ? "invalid_request_error"
                         : "server_error";
}

const char* NameOf(DecoderKind decoder) { return decoder == DecoderKind::kTiny ? "tiny" : "full"; }

json ChunkJson(const Chunk& chunk) {
  return {{"event", "chunk"},
          {"block", chunk.block},
          {"index", chunk.index},
          {"start", Seconds(chunk.pts)},
          {"seconds", Seconds(chunk.duration)},
          {"key_frame", chunk.starts_with_key_frame},
          {"prompt", chunk.prompt},
          {"denoise_steps", chunk.denoise_steps},
          {"decoder", NameOf(chunk.decoder)},
          {"last_in_block", chunk.last_in_block()}};
}

}  // namespace

std::string IdOf(const std::string& name) { return std::string(absl::StripPrefix(name, "videos/")); }

json ErrorJson(const absl::Status& error) {
  const ErrorDetails details = DetailsOf(error);
  return {{"code", NameOf(details.reason)}, {"message", std::string(error.message())}};
}

std::string ToLine(const json& value) { return value.dump(-1, ' ', false, json::error_handler_t::replace) + "\n"; }

json ToJson(const VideoInfo& video, bool with_blocks, Reader reader) {
  const VideoPlan& plan = *video.plan;
  json blocks = json::array();
  for (int block = 0; with_blocks && block < plan.blocks(); ++block) {
    const absl::Duration start = plan.BlockStart(block);
    blocks.push_back(
        {{"index", block}, {"start", Seconds(start)}, {"seconds", Seconds(plan.BlockStart(block + 1) - start)}});
  }
  json changes = json::array();
  for (size_t i = 0; i < plan.prompt_blocks.size(); ++i) {
    changes.push_back({{"prompt", plan.prompts[i + 1]}, {"block", plan.prompt_blocks[i]}});
  }
  for (const auto& [prompt, block] : video.changes) changes.push_back({{"prompt", prompt}, {"block", block}});
  json adapters = json::array();
  for (const auto& [name, strength] : plan.spec.adapters) adapters.push_back({{"name", name}, {"strength", strength}});
  json out = {{"id", IdOf(video.name)},
              {"object", "video"},
              {"status", StatusOf(video.state)},
              {"progress", plan.blocks() == 0 ? 0 : 100 * video.blocks / plan.blocks()},
              {"created_at", absl::ToUnixSeconds(video.create_time)},
              {"model", std::string(absl::StripPrefix(plan.spec.model, "models/"))},
              {"prompt", plan.spec.prompt},
              {"prompt_changes", changes},
              {"adapters", adapters},
              {"decoder", NameOf(plan.spec.decoder)},
              {"seconds", absl::StrFormat("%.2f", Seconds(plan.rate.TimeOf(plan.frames())))},
              {"size", ToText(plan.session.size)},
              {"seed", plan.session.seed},
              {"fps", static_cast<double>(plan.rate.numerator) / plan.rate.denominator},
              {"frames", plan.frames()},
              {"made_blocks", video.blocks},
              {"paused", video.state == State::kPaused},
              {"viewers", video.viewers},
              {"error", video.error.ok() ? json() : ErrorJson(video.error)}};
  if (with_blocks) out["blocks"] = blocks;
  if (video.end_time.has_value()) out["completed_at"] = absl::ToUnixSeconds(*video.end_time);
  if (!video.request_id.empty()) out["request_id"] = video.request_id;
  if (reader == Reader::kLinkHolder) {
    for (const char* field : {"prompt", "seed", "request_id", "adapters"}) out.erase(field);
    for (json& change : out["prompt_changes"]) change.erase("prompt");
  }
  return out;
}

json ToJson(const ModelInfo& model) {
  json sizes = json::array();
  for (const Size& size : model.sizes) sizes.push_back(ToText(size));
  const media::FrameRate rate = media::FrameRateFrom(model.fps).value_or(media::FrameRate{});
  json out = {{"id", model.name},
              {"object", "model"},
              {"owned_by", "longtake"},
              {"created", 0},
              {"fps", model.fps},
              {"sizes", sizes},
              {"max_seconds", Seconds(rate.TimeOf(FramesOf(model, model.max_latent_frames)))},
              {"switches_prompt", model.switches_prompt},
              {"accepts_negative_prompt", model.accepts_negative_prompt},
              {"accepts_first_image", model.accepts_first_image},
              {"about", model.about},
              {"examples", model.examples}};
  json adapters = json::array();
  for (const AdapterInfo& adapter : model.adapters) adapters.push_back(adapter.name);
  out["adapters"] = std::move(adapters);
  out["decoders"] = model.has_tiny_decoder ? json{"full", "tiny"} : json{"full"};
  if (model.block_latent_frames > 0) {
    out["block_seconds"] = Seconds(rate.TimeOf(int64_t{model.block_latent_frames} * model.frames_per_latent));
  }
  return out;
}

json ToJson(const scheduler::Quote& quote) {
  json out = {{"start_seconds", Seconds(quote.start)}, {"waiting", quote.waiting}};
  if (quote.first_chunk < absl::InfiniteDuration()) out["first_chunk_seconds"] = Seconds(quote.first_chunk);
  if (quote.last_chunk < absl::InfiniteDuration()) out["last_chunk_seconds"] = Seconds(quote.last_chunk);
  return out;
}

json ToJson(const Event& event, size_t media_size, Reader reader) {
  json out;
  if (const auto* accepted = std::get_if<Accepted>(&event.body); accepted != nullptr) {
    out = {{"event", "accepted"},
           {"video", ToJson(accepted->video, /*with_blocks=*/true, reader)},
           {"media_type", accepted->media_type},
           {"quote", ToJson(accepted->quote)}};
  } else if (std::holds_alternative<InitSegment>(event.body)) {
    out = {{"event", "init_segment"}};
  } else if (const auto* waiting = std::get_if<Waiting>(&event.body); waiting != nullptr) {
    out = {{"event", "waiting"}, {"position", waiting->position}};
  } else if (const auto* progress = std::get_if<Progress>(&event.body); progress != nullptr) {
    out = {{"event", "progress"},    {"kind", Name(progress->kind)}, {"block", progress->block},
           {"step", progress->step}, {"steps", progress->steps},     {"done", progress->done}};
  } else if (const auto* changed = std::get_if<PromptChanged>(&event.body); changed != nullptr) {
    out = {{"event", "prompt_changed"},
           {"prompt", changed->prompt},
           {"block", changed->block},
           {"start", Seconds(changed->pts)},
           {"tokens", {{"given", changed->tokens.given}, {"used", changed->tokens.used}}}};
  } else if (const auto* chunk = std::get_if<Chunk>(&event.body); chunk != nullptr) {
    out = ChunkJson(*chunk);
  } else {
    const auto& finished = std::get<Finished>(event.body);
    out = {{"event", "finished"},
           {"frames", finished.frames},
           {"chunks", finished.chunks},
           {"seconds", Seconds(finished.duration)}};
  }
  if (media_size > 0) out["bytes"] = media_size;
  return out;
}

HttpAnswer ToAnswer(const json& body) {
  return {.content_type = "application/json", .body = ToLine(body), .headers = {{"Cache-Control", "no-store"}}};
}

HttpAnswer ToAnswer(const absl::Status& error) {
  const ErrorDetails details = DetailsOf(error);
  const int status = HttpStatusOf(error);
  json body = ErrorJson(error);
  body["type"] = TypeOf(status);
  body["param"] = details.fields.empty() ? json() : json(details.fields.front().field);
  HttpAnswer answer = ToAnswer(json{{"error", body}});
  answer.status = status;
  if (status == 401) answer.headers.emplace_back("WWW-Authenticate", "Bearer");
  if (details.retry_delay.has_value()) {
    answer.headers.emplace_back("Retry-After", absl::StrCat(std::max(1.0, std::ceil(Seconds(*details.retry_delay)))));
  }
  return answer;
}

}  // namespace longtake::server
