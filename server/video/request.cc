#include "server/video/request.h"

#include <unicode/uchar.h>
#include <unicode/utf8.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "common/status_macros.h"
#include "server/image/image.h"

namespace longtake::server {
namespace {

constexpr int kMaxPriority = 100;
// Times that were computed from frames may be off by their rounding.
constexpr absl::Duration kRounding = absl::Microseconds(1);

std::string TooLong(size_t bytes, int64_t max_bytes) {
  return absl::StrCat(bytes, " bytes, above the limit of ", max_bytes);
}

std::string Seconds(absl::Duration duration) { return absl::StrCat(absl::ToDoubleSeconds(duration), " s"); }

// Whether anything would be seen of it: the text encoder strips white space of every script, and characters without a
// shape say nothing.
bool IsBlank(absl::string_view text) {
  const auto size = static_cast<int32_t>(text.size());
  for (int32_t i = 0; i < size;) {
    UChar32 c = 0;
    U8_NEXT(text.data(), i, size, c);
    const int8_t type = u_charType(c);
    if (c < 0 || (!u_isUWhiteSpace(c) && type != U_CONTROL_CHAR && type != U_FORMAT_CHAR)) return false;
  }
  return true;
}

bool IsIdentifierByte(char c) {
  return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '_' || c == '-';
}

class Checker {
 public:
  Checker(const VideoSpec& spec, const DeliveryOptions& options, std::vector<FieldError> errors, Purpose purpose,
          const Engine& engine, const RequestLimits& limits)
      : spec_(spec),
        options_(options),
        purpose_(purpose),
        engine_(engine),
        model_(engine.model()),
        limits_(limits),
        errors_(std::move(errors)) {}

  absl::StatusOr<VideoPlan> Check() {
    ASSIGN_OR_RETURN(plan_.rate, media::FrameRateFrom(model_.fps));
    CheckModel();
    CheckText();
    CheckSize();
    CheckDuration();
    CheckRest();
    CheckAdapters();
    CheckDecoder();
    CheckOptions();
    CheckChanges();
    if (!errors_.empty()) return InvalidRequest(std::move(errors_));
    LayBlocks();
    CheckLead();
    PlaceChanges();
    if (!errors_.empty()) return InvalidRequest(std::move(errors_));
    return std::move(plan_);
  }

 private:
  void Refuse(std::string field, std::string description) {
    // What could not be read has been said already.
    const auto named = [&](const FieldError& error) { return error.field == field; };
    if (std::any_of(errors_.begin(), errors_.end(), named)) return;
    errors_.push_back({std::move(field), std::move(description)});
  }
  void Prompt(const std::string& field, const std::string& prompt) {
    if (auto error = CheckPrompt(field, prompt, limits_.max_prompt_bytes); error.has_value()) {
      Refuse(std::move(error->field), std::move(error->description));
    }
  }

  void CheckModel() {
    plan_.spec = spec_;
    plan_.options = options_;
    plan_.spec.model = ModelName(model_);
    if (!spec_.model.empty() && spec_.model != plan_.spec.model) {
      Refuse("spec.model", absl::StrCat("this server has \"", plan_.spec.model, "\" only"));
    }
  }

  void CheckText() {
    if (purpose_ == Purpose::kMake || !spec_.prompt.empty()) Prompt("spec.prompt", spec_.prompt);
    if (!spec_.negative_prompt.empty() && !model_.accepts_negative_prompt) {
      Refuse("spec.negative_prompt", "this model takes none: it samples without guidance");
    } else if (static_cast<int64_t>(spec_.negative_prompt.size()) > limits_.max_prompt_bytes) {
      Refuse("spec.negative_prompt", TooLong(spec_.negative_prompt.size(), limits_.max_prompt_bytes));
    }
    plan_.prompts.push_back(spec_.prompt);
  }

  void CheckSize() {
    if (!spec_.size.has_value()) {
      plan_.spec.size = model_.sizes.front();
      return;
    }
    if (std::find(model_.sizes.begin(), model_.sizes.end(), *spec_.size) != model_.sizes.end()) return;
    Refuse("spec.size", absl::StrCat(spec_.size->width, "x", spec_.size->height, " is not offered; the sizes are ",
                                     absl::StrJoin(model_.sizes, ", ", [](std::string* out, const Size& offered) {
                                       absl::StrAppend(out, offered.width, "x", offered.height);
                                     })));
  }

  void CheckDuration() {
    if (spec_.duration <= absl::ZeroDuration()) {
      return Refuse("spec.duration", absl::StrCat(Seconds(spec_.duration), " is not above 0"));
    }
    // 1 + stride * (latents - 1) frames are nearest to what was asked. Durations are rounded to whole latent frames
    // before they are compared with the limit.
    const double frames = absl::ToDoubleSeconds(spec_.duration) * model_.fps;
    const double latents = 1 + std::round((frames - 1) / model_.frames_per_latent);
    if (latents > model_.max_latent_frames) {
      return Refuse("spec.duration",
                    absl::StrCat(Seconds(spec_.duration), " is above the model's longest video, ",
                                 Seconds(plan_.rate.TimeOf(FramesOf(model_, model_.max_latent_frames)))));
    }
    plan_.session.latent_frames = std::max(1, static_cast<int>(latents));
  }

  void CheckRest() {
    if (spec_.seed.has_value() && *spec_.seed < 0) {
      Refuse("spec.seed", absl::StrCat(*spec_.seed, " is below 0; without a seed the server chooses one"));
    }
    CheckFirstImage();
  }

  // By the picture's header: it is decoded when the rest is right.
  void CheckFirstImage() {
    if (spec_.first_image.empty()) return;
    if (!model_.accepts_first_image) {
      return Refuse("spec.first_image", "this model makes videos from text alone");
    }
    if (static_cast<int64_t>(spec_.first_image.size()) > limits_.max_first_image_bytes) {
      return Refuse("spec.first_image", TooLong(spec_.first_image.size(), limits_.max_first_image_bytes));
    }
    const absl::Status header = ReadPictureHeader(spec_.first_image, limits_.max_first_image_pixels).status();
    if (!header.ok()) Refuse("spec.first_image", std::string(header.message()));
    if (plan_.session.latent_frames == 1) {
      Refuse("spec.duration",
             absl::StrCat(Seconds(spec_.duration), " is the first image alone; the shortest video has ",
                          Seconds(plan_.rate.TimeOf(FramesOf(model_, 2)))));
    }
  }

  void CheckDecoder() {
    if (spec_.decoder == DecoderKind::kTiny && !model_.has_tiny_decoder) {
      Refuse("spec.decoder", "this model has no tiny decoder");
    }
    plan_.session.decoder = spec_.decoder;
  }

  // The session keeps the digests, so that what is made later belongs to the same files.
  void CheckAdapters() {
    if (spec_.adapters.size() > kMaxSessionAdapters) {
      return Refuse("spec.adapters",
                    absl::StrCat(spec_.adapters.size(), " are above the limit of ", kMaxSessionAdapters));
    }
    std::set<std::string> names;
    for (size_t i = 0; i < spec_.adapters.size(); ++i) {
      const auto& [name, strength] = spec_.adapters[i];
      const auto field = [i](const char* of) { return absl::StrCat("spec.adapters[", i, "].", of); };
      const auto has_name = [&name = name](const AdapterInfo& adapter) { return adapter.name == name; };
      const auto adapter = std::find_if(model_.adapters.begin(), model_.adapters.end(), has_name);
      if (!names.insert(name).second) {
        Refuse(field("name"), absl::StrCat("\"", name, "\" is given twice"));
      } else if (model_.adapters.empty()) {
        Refuse(field("name"), "this model has no adapters");
      } else if (adapter == model_.adapters.end()) {
        Refuse(field("name"), absl::StrCat("there is none of that name; the names are ", Names(model_.adapters)));
      } else {
        plan_.session.adapters.push_back({.name = name, .strength = strength, .digest = adapter->digest});
      }
      if (!(std::abs(strength) <= kMaxAdapterStrength)) {
        Refuse(field("strength"), absl::StrCat("is not within -", kMaxAdapterStrength, " ... ", kMaxAdapterStrength));
      }
    }
  }

  static std::string Names(const std::vector<AdapterInfo>& adapters) {
    return absl::StrJoin(adapters, ", ", [](std::string* out, const AdapterInfo& a) { absl::StrAppend(out, a.name); });
  }

  void CheckOptions() {
    if (std::abs(static_cast<int64_t>(options_.priority)) > kMaxPriority) {
      Refuse("delivery_options.priority",
             absl::StrCat(options_.priority, " is not within -", kMaxPriority, " ... ", kMaxPriority));
    }
    if (options_.max_wait.has_value() && *options_.max_wait <= absl::ZeroDuration()) {
      Refuse("delivery_options.max_wait_duration", absl::StrCat(Seconds(*options_.max_wait), " is not above 0"));
    }
    if (options_.reconnect_timeout.has_value() && *options_.reconnect_timeout < absl::ZeroDuration()) {
      Refuse("delivery_options.reconnect_timeout", absl::StrCat(Seconds(*options_.reconnect_timeout), " is below 0"));
    }
  }

  // A lead below one block lets no block begin before it is due: the video would stall by construction, and its stream
  // would be the most urgent one all the time.
  void CheckLead() {
    if (!options_.max_lead.has_value() || options_.delivery != scheduler::Delivery::kLive) return;
    const int frames = *std::max_element(plan_.block_frames.begin(), plan_.block_frames.end());
    const absl::Duration longest = plan_.blocks() == 1 ? absl::ZeroDuration() : plan_.rate.TimeOf(frames);
    if (*options_.max_lead >= longest - kRounding && *options_.max_lead > absl::ZeroDuration()) return;
    Refuse("delivery_options.max_lead_duration",
           absl::StrCat(Seconds(*options_.max_lead), " is shorter than a block, ", Seconds(longest)));
  }

  // The prompts' texts; where they fall is seen when the blocks are known.
  void CheckChanges() {
    const size_t changes = spec_.prompt_changes.size();
    if (changes == 0) return;
    if (!model_.switches_prompt) return Refuse("spec.prompt_changes", "this model keeps its prompt");
    if (static_cast<int64_t>(changes) > limits_.max_prompt_changes) {
      return Refuse("spec.prompt_changes",
                    absl::StrCat(changes, " changes, above the limit of ", limits_.max_prompt_changes));
    }
    for (size_t i = 0; i < changes; ++i) {
      Prompt(absl::StrCat("spec.prompt_changes[", i, "].prompt"), spec_.prompt_changes[i].prompt);
    }
  }

  void LayBlocks() {
    plan_.session.size = *plan_.spec.size;
    plan_.block_latents = engine_.BlockLengths(plan_.session.latent_frames, !spec_.first_image.empty());
    plan_.block_starts.push_back(0);
    for (int latents : plan_.block_latents) {
      const bool first = plan_.block_frames.empty();
      plan_.block_frames.push_back(first ? static_cast<int>(FramesOf(model_, latents))
                                         : model_.frames_per_latent * latents);
      plan_.block_starts.push_back(plan_.block_starts.back() + plan_.block_frames.back());
    }
  }

  void PlaceChanges() {
    for (size_t i = 0; i < spec_.prompt_changes.size(); ++i) {
      const PromptChange& change = spec_.prompt_changes[i];
      const std::string field = absl::StrCat("spec.prompt_changes[", i, "].at_offset");
      const int block = change.at.has_value() ? plan_.BlockAt(*change.at) : 0;
      if (!change.at.has_value()) {
        Refuse(field, "missing");
      } else if (block == 0) {
        Refuse(field, absl::StrCat(Seconds(*change.at), " is not above 0"));
      } else if (block == plan_.blocks()) {
        Refuse(field, absl::StrCat("no block begins at or after ", Seconds(*change.at), "; the last begins at ",
                                   Seconds(plan_.BlockStart(block - 1))));
      } else if (!plan_.prompt_blocks.empty() && block <= plan_.prompt_blocks.back()) {
        Refuse(field, absl::StrCat("falls to the block at ", Seconds(plan_.BlockStart(block)),
                                   ", which is not after the change before it"));
      } else {
        plan_.prompt_blocks.push_back(block);
        plan_.prompts.push_back(change.prompt);
      }
    }
  }

  const VideoSpec& spec_;
  const DeliveryOptions& options_;
  const Purpose purpose_;
  const Engine& engine_;
  const ModelInfo& model_;
  const RequestLimits& limits_;
  std::vector<FieldError> errors_;
  VideoPlan plan_;
};

}  // namespace

int VideoPlan::PromptAt(int block) const {
  int prompt = 0, from = 0;
  for (size_t i = 0; i < prompt_blocks.size(); ++i) {
    if (prompt_blocks[i] > block || prompt_blocks[i] < from) continue;
    from = prompt_blocks[i];
    prompt = static_cast<int>(i) + 1;
  }
  return prompt;
}

int VideoPlan::BlockAt(absl::Duration at) const {
  const auto begins_before = [this](int64_t start, absl::Duration time) { return rate.TimeOf(start) < time; };
  return static_cast<int>(
      std::lower_bound(block_starts.begin(), block_starts.end() - 1, at - kRounding, begins_before) -
      block_starts.begin());
}

std::optional<FieldError> CheckPrompt(const std::string& field, const std::string& prompt, int max_prompt_bytes) {
  if (IsBlank(prompt)) return FieldError{field, "empty"};
  if (static_cast<int64_t>(prompt.size()) > max_prompt_bytes) {
    return FieldError{field, TooLong(prompt.size(), max_prompt_bytes)};
  }
  return std::nullopt;
}

std::optional<FieldError> CheckIdentifier(const std::string& field, const std::string& id) {
  constexpr size_t kMostBytes = 64;
  if (id.size() <= kMostBytes && std::all_of(id.begin(), id.end(), IsIdentifierByte)) return std::nullopt;
  return FieldError{field, absl::StrCat("is not of at most ", kMostBytes, " letters, digits, '.', '_' and '-'")};
}

std::string ModelName(const ModelInfo& model) {
  std::string name = model.name;
  for (char& c : name) {
    if (!IsIdentifierByte(c)) c = '-';
  }
  return absl::StrCat("models/", name);
}

int64_t FramesOf(const ModelInfo& model, int latent_frames) {
  return 1 + static_cast<int64_t>(model.frames_per_latent) * (latent_frames - 1);
}

absl::StatusOr<VideoPlan> CheckRequest(const VideoSpec& spec, const DeliveryOptions& options,
                                       std::vector<FieldError> errors, Purpose purpose, const Engine& engine,
                                       const RequestLimits& limits, int64_t fresh_seed) {
  absl::StatusOr<VideoPlan> plan = Checker(spec, options, std::move(errors), purpose, engine, limits).Check();
  if (!plan.ok()) return plan;
  if (!plan->spec.seed.has_value()) plan->spec.seed = fresh_seed;
  plan->session.seed = static_cast<uint64_t>(*plan->spec.seed);
  return plan;
}

}  // namespace longtake::server
