#include "server/http/request_json.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/json_depth.h"

namespace longtake::server {
namespace {

using nlohmann::json;

constexpr double kLongest = 1e9;  // seconds: beyond every video
// What is said to be wrong with one request at most: who sends more is not helped by reading on.
constexpr size_t kMostErrors = 16;
// A list of objects in a request.
constexpr int kDeepest = 3;

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
  std::optional<double> Number(const std::string& name) {
    const json* value = Find(name);
    if (value == nullptr) return std::nullopt;
    if (value->is_number()) return value->get<double>();
    Wrong(name, "is not a number");
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

 private:
  const json& body_;
  const std::string path_;
  std::vector<FieldError>& errors_;
  std::set<std::string> known_;
};

// Calls read(fields of the object) for each object of a list.
template <typename F>
void ReadObjects(Fields& fields, const std::string& name, std::vector<FieldError>& errors, const F& read) {
  const json* list = fields.Find(name);
  if (list == nullptr) return;
  if (!list->is_array()) return fields.Wrong(name, "is not a list");
  for (size_t i = 0; i < list->size(); ++i) {
    const std::string element = absl::StrCat(name, "[", i, "]");
    if (!(*list)[i].is_object()) {
      fields.Wrong(element, "is not an object");
      continue;
    }
    Fields object((*list)[i], element + ".", errors);
    read(object);
    object.Finish();
  }
}

std::vector<PromptChange> Changes(Fields& fields, std::vector<FieldError>& errors) {
  std::vector<PromptChange> changes;
  ReadObjects(fields, "prompt_changes", errors, [&](Fields& change) {
    changes.push_back({.prompt = change.Text("prompt"), .at = change.Time("at_seconds")});
    if (!changes.back().at.has_value()) change.Wrong("at_seconds", "is missing");
  });
  return changes;
}

std::vector<Adapter> Adapters(Fields& fields, std::vector<FieldError>& errors) {
  std::vector<Adapter> adapters;
  ReadObjects(fields, "adapters", errors, [&](Fields& adapter) {
    adapters.push_back({.name = adapter.Text("name"), .strength = adapter.Number("strength").value_or(1)});
  });
  return adapters;
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

// The bytes of a part of a form; base64 or a data URL; or the latter as an object's `image_url`.
std::string FirstImage(Fields& fields) {
  constexpr char kName[] = "input_reference";
  const json* value = fields.Find(kName);
  if (value == nullptr) return {};
  if (value->is_binary()) return std::string(value->get_binary().begin(), value->get_binary().end());
  if (value->is_object() && value->size() == 1 && value->contains("image_url")) value = &value->at("image_url");
  if (!value->is_string()) {
    fields.Wrong(kName, "is not base64, a data URL or {\"image_url\": a data URL}");
    return {};
  }
  absl::string_view text = value->get_ref<const std::string&>();
  if (text.empty()) return {};
  if (absl::ConsumePrefix(&text, "data:")) {
    const size_t comma = text.find(',');
    if (comma == text.npos || !absl::EndsWith(text.substr(0, comma), ";base64")) {
      fields.Wrong(kName, "is a data URL without base64");
      return {};
    }
    text.remove_prefix(comma + 1);
  } else if (absl::StrContains(text.substr(0, 16), "://")) {
    fields.Wrong(kName, "is an address; this server fetches no pictures, send its bytes");
    return {};
  }
  std::string bytes;
  if (!absl::Base64Unescape(text, &bytes) || bytes.empty()) fields.Wrong(kName, "is not base64");
  return bytes;
}

DecoderKind ReadDecoder(Fields& fields) {
  const std::string decoder = fields.Text("decoder");
  if (decoder == "tiny") return DecoderKind::kTiny;
  if (!decoder.empty() && decoder != "full") fields.Wrong("decoder", "is not full or tiny");
  return DecoderKind::kFull;
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

}  // namespace

absl::StatusOr<json> ParseBody(const std::string& body) {
  if (body.empty()) return json::object();
  // Before it is parsed: each of half a million brackets would become an object of its own.
  if (JsonNestsDeeper(body, kDeepest)) return InvalidRequest({{"body", "nests too deep"}});
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
  spec.adapters = Adapters(fields, request.errors);
  spec.first_image = FirstImage(fields);
  spec.decoder = ReadDecoder(fields);
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

std::optional<absl::Duration> ToLinkDuration(const json& body, std::vector<FieldError>& errors) {
  Fields fields(body, "", errors);
  const std::optional<absl::Duration> duration = fields.Time("seconds");
  fields.Finish();
  return duration;
}

}  // namespace longtake::server
