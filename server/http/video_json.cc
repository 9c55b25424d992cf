#include "server/http/video_json.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace longtake::server {
namespace {

using nlohmann::json;

constexpr double kLongest = 1e9;  // seconds: beyond every video
// What is said to be wrong with one request at most: who sends more is not helped by reading on.
constexpr size_t kMostErrors = 16;
// A list of objects in a request.
constexpr int kDeepest = 3;

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

const char* NameOf(scheduler::PassKind kind) {
  switch (kind) {
    case scheduler::PassKind::kEncodePrompt:
      return "encode_prompt";
    case scheduler::PassKind::kDenoise:
      return "denoise";
    case scheduler::PassKind::kCommit:
      return "commit";
    case scheduler::PassKind::kDecode:
      return "decode";
    case scheduler::PassKind::kSave:
    case scheduler::PassKind::kRestore:
      break;
  }
  return "other";
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

json ErrorJson(const absl::Status& error) {
  const ErrorDetails details = DetailsOf(error);
  return {{"code", server::NameOf(details.reason)}, {"message", std::string(error.message())}};
}

// Reads an object's fields; what is wrong with them, and those that were not asked for, end up in `errors`.
class Fields {
 public:
  Fields(const json& body, std::string path, std::vector<FieldError>& errors)
      : body_(body), path_(std::move(path)), errors_(errors) {}
  // Those that are left are unknown.
  void Finish() {
    for (const auto& [name, value] : body_.items()) {
      if (!known_.contains(name)) Wrong(name, "is not known");
    }
  }

  std::string Text(const std::string& name) {
    const json* value = Find(name);
    if (value == nullptr) return {};
    if (value->is_string()) return value->get<std::string>();
    Wrong(name, "is not a string");
    return {};
  }
  bool Flag(const std::string& name) {
    const json* value = Find(name);
    if (value != nullptr && !value->is_boolean()) Wrong(name, "is not true or false");
    return value != nullptr && value->is_boolean() && value->get<bool>();
  }
  std::optional<int64_t> Whole(const std::string& name) {
    const json* value = Find(name);
    if (value == nullptr) return std::nullopt;
    const bool fits = !value->is_number_unsigned() || value->get<uint64_t>() <= uint64_t{INT64_MAX};
    if (value->is_number_integer() && fits) return value->get<int64_t>();
    Wrong(name, "is not a whole number");
    return std::nullopt;
  }
  // A number, or one in a string, as some clients have it.
  std::optional<absl::Duration> Time(const std::string& name) {
    const json* value = Find(name);
    if (value == nullptr) return std::nullopt;
    double seconds = 0;
    const bool number = value->is_number();
    if (number) seconds = value->get<double>();
    if ((number || (value->is_string() && absl::SimpleAtod(value->get<std::string>(), &seconds))) &&
        std::abs(seconds) < kLongest) {
      return absl::Seconds(seconds);
    }
    Wrong(name, "is not a number of seconds");
    return std::nullopt;
  }
  const json* Find(const std::string& name) {
    known_.insert(name);
    const auto found = body_.find(name);
    return found == body_.end() || found->is_null() ? nullptr : &*found;
  }
  void Wrong(const std::string& name, const char* why) {
    if (errors_.size() < kMostErrors) errors_.push_back({absl::StrCat(path_, name), why});
  }
  const std::string& path() const { return path_; }

 private:
  const json& body_;
  const std::string path_;
  std::vector<FieldError>& errors_;
  std::set<std::string> known_;
};

std::vector<PromptChange> Changes(Fields& fields, std::vector<FieldError>& errors) {
  std::vector<PromptChange> changes;
  const json* list = fields.Find("prompt_changes");
  if (list == nullptr) return changes;
  if (!list->is_array()) fields.Wrong("prompt_changes", "is not a list");
  for (size_t i = 0; list->is_array() && i < list->size(); ++i) {
    const std::string name = absl::StrCat("prompt_changes[", i, "]");
    if (!(*list)[i].is_object()) {
      fields.Wrong(name, "is not an object");
      continue;
    }
    Fields change((*list)[i], name + ".", errors);
    changes.push_back({.prompt = change.Text("prompt"), .at = change.Time("at_seconds")});
    if (!changes.back().at.has_value()) change.Wrong("at_seconds", "is missing");
    change.Finish();
  }
  return changes;
}

std::optional<Size> ReadSize(Fields& fields) {
  const std::string text = fields.Text("size");
  if (text.empty()) return std::nullopt;
  const std::vector<std::string> sides = absl::StrSplit(text, 'x');
  Size size;
  if (sides.size() == 2 && absl::SimpleAtoi(sides[0], &size.width) && absl::SimpleAtoi(sides[1], &size.height)) {
    return size;
  }
  fields.Wrong("size", "is not WIDTHxHEIGHT");
  return std::nullopt;
}

DeliveryOptions Delivery(Fields& fields) {
  DeliveryOptions options;
  if (fields.Flag("offline")) options.delivery = scheduler::Delivery::kOffline;
  if (fields.Flag("adaptive")) options.fidelity = Fidelity::kAdaptive;
  options.max_wait = fields.Time("max_wait_seconds");
  options.max_lead = fields.Time("max_lead_seconds");
  options.reconnect_timeout = fields.Time("reconnect_seconds");
  if (const auto priority = fields.Whole("priority"); priority.has_value()) {
    options.priority = static_cast<int>(std::clamp<int64_t>(*priority, INT32_MIN, INT32_MAX));
  }
  const std::string disconnect = fields.Text("on_disconnect");
  if (disconnect == "cancel") options.disconnect = Disconnect::kCancel;
  if (disconnect == "continue") options.disconnect = Disconnect::kContinue;
  if (disconnect == "pause") options.disconnect = Disconnect::kPause;
  if (!disconnect.empty() && !options.disconnect.has_value()) {
    fields.Wrong("on_disconnect", "is not cancel, continue or pause");
  }
  return options;
}

json ChunkJson(const Chunk& chunk) {
  return {{"event", "chunk"},
          {"block", chunk.block},
          {"index", chunk.index},
          {"start", Seconds(chunk.pts)},
          {"seconds", Seconds(chunk.duration)},
          {"key_frame", chunk.starts_with_key_frame},
          {"prompt", chunk.prompt},
          {"denoise_steps", chunk.denoise_steps},
          {"last_in_block", chunk.last_in_block()}};
}

}  // namespace

std::string IdOf(const std::string& name) { return std::string(absl::StripPrefix(name, "videos/")); }

json ToJson(const VideoInfo& video, bool with_blocks) {
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
  json out = {{"id", IdOf(video.name)},
              {"object", "video"},
              {"status", StatusOf(video.state)},
              {"progress", plan.blocks() == 0 ? 0 : 100 * video.blocks / plan.blocks()},
              {"created_at", absl::ToUnixSeconds(video.create_time)},
              {"model", std::string(absl::StripPrefix(plan.spec.model, "models/"))},
              {"prompt", plan.spec.prompt},
              {"prompt_changes", changes},
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
              {"accepts_first_image", model.accepts_first_image}};
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

json ToJson(const Event& event, size_t media_size) {
  json out;
  if (const auto* accepted = std::get_if<Accepted>(&event.body); accepted != nullptr) {
    out = {{"event", "accepted"},
           {"video", ToJson(accepted->video)},
           {"media_type", accepted->media_type},
           {"quote", ToJson(accepted->quote)}};
  } else if (std::holds_alternative<InitSegment>(event.body)) {
    out = {{"event", "init_segment"}};
  } else if (const auto* waiting = std::get_if<Waiting>(&event.body); waiting != nullptr) {
    out = {{"event", "waiting"}, {"position", waiting->position}};
  } else if (const auto* progress = std::get_if<Progress>(&event.body); progress != nullptr) {
    out = {{"event", "progress"},    {"kind", NameOf(progress->kind)}, {"block", progress->block},
           {"step", progress->step}, {"steps", progress->steps},       {"done", progress->done}};
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
  return {.content_type = "application/json",
          .body = body.dump(-1, ' ', false, json::error_handler_t::replace) + "\n",
          .headers = {{"Cache-Control", "no-store"}}};
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

absl::StatusOr<json> ParseBody(const std::string& body) {
  if (body.empty()) return json::object();
  // Before it is parsed: each of half a million brackets would become an object of its own.
  int depth = 0;
  bool in_text = false;
  for (size_t i = 0; i < body.size(); ++i) {
    if (in_text && body[i] == '\\') {
      ++i;
    } else if (body[i] == '"') {
      in_text = !in_text;
    } else if (!in_text && (body[i] == '[' || body[i] == '{')) {
      if (++depth > kDeepest) return InvalidRequest({{"body", "nests too deep"}});
    } else if (!in_text && (body[i] == ']' || body[i] == '}')) {
      --depth;
    }
  }
  json parsed = json::parse(body, nullptr, /*allow_exceptions=*/false);
  if (!parsed.is_object()) return InvalidRequest({{"body", "is not a JSON object"}});
  return parsed;
}

CreateRequest ToCreateRequest(const json& body) {
  CreateRequest request;
  Fields fields(body, "", request.errors);
  VideoSpec& spec = request.spec;
  spec.prompt = fields.Text("prompt");
  spec.negative_prompt = fields.Text("negative_prompt");
  spec.seed = fields.Whole("seed");
  spec.size = ReadSize(fields);
  // As long as OpenAI's by default.
  spec.duration = fields.Time("seconds").value_or(absl::Seconds(4));
  if (const std::string model = fields.Text("model"); !model.empty()) {
    spec.model = absl::StartsWith(model, "models/") ? model : absl::StrCat("models/", model);
  }
  spec.prompt_changes = Changes(fields, request.errors);
  request.options = Delivery(fields);
  request.request_id = fields.Text("request_id");
  fields.Finish();
  return request;
}

ForkRequest ToForkRequest(const json& body) {
  ForkRequest request;
  Fields fields(body, "", request.errors);
  ForkSpec& fork = request.fork;
  fork.from_block = static_cast<int>(std::clamp<int64_t>(fields.Whole("from_block").value_or(0), INT32_MIN, INT32_MAX));
  fork.prompt = fields.Text("prompt");
  fork.prompt_changes = Changes(fields, request.errors);
  fork.duration = fields.Time("seconds");
  request.options = Delivery(fields);
  request.request_id = fields.Text("request_id");
  fields.Finish();
  return request;
}

PromptChange ToPromptChange(const json& body, std::vector<FieldError>& errors) {
  Fields fields(body, "", errors);
  const PromptChange change{.prompt = fields.Text("prompt"), .at = fields.Time("at_seconds")};
  fields.Finish();
  return change;
}

PlaybackReport ToPlaybackReport(const json& body, std::vector<FieldError>& errors) {
  Fields fields(body, "", errors);
  PlaybackReport report{.viewer_id = fields.Text("viewer_id"), .paused = fields.Flag("paused")};
  report.position = fields.Time("position").value_or(-absl::Seconds(1));
  if (report.position < absl::ZeroDuration()) fields.Wrong("position", "is missing or below 0");
  fields.Finish();
  return report;
}

}  // namespace longtake::server
