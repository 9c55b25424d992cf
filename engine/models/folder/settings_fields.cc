#include "engine/models/folder/settings_fields.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "common/status_macros.h"
#include "engine/core/json_text.h"
#include "engine/models/folder/scheduler_config.h"

namespace longtake {
namespace {

// Two sentences, and as many prompts as fit on a page beside the form. All of them are in every answer about the model.
constexpr size_t kMaxAboutBytes = 400, kMaxExampleBytes = 200, kMaxExamples = 12;
constexpr int kMostTimestep = 1000;
constexpr size_t kMaxSigmas = 1000;  // as `steps`

// Reads a string, or a list of lines.
std::string Lines(JsonConfig& json, const std::string& field, const std::string& fallback) {
  const nlohmann::json* raw = json.Raw(field);
  if (raw == nullptr || raw->is_null()) return fallback;
  if (raw->is_array()) return absl::StrJoin(json.Strings(field, {}), "\n");
  return json.String(field, "");
}

std::vector<std::pair<int, int>> Sizes(JsonConfig& json) {
  std::vector<std::pair<int, int>> sizes;
  for (const std::string& text : json.Strings("sizes", {})) {
    const std::vector<absl::string_view> sides = absl::StrSplit(text, 'x');
    int width = 0, height = 0;
    if (sides.size() != 2 || !absl::SimpleAtoi(sides[0], &width) || !absl::SimpleAtoi(sides[1], &height) ||
        width < 16 || height < 16 || width > 8192 || height > 8192) {
      json.Fail("sizes", absl::StrCat("\"", text, "\" is not WIDTHxHEIGHT in pixels"));
      continue;
    }
    sizes.emplace_back(width, height);
  }
  if (sizes.empty()) json.Fail("sizes", "must not be empty");
  return sizes;
}

// Of timesteps, whose most is 1000, or of noise levels, whose most is 1.
void CheckSchedule(JsonConfig& json, const char* field, const std::vector<double>& values, int most) {
  if (values.empty()) json.Fail(field, "must not be empty");
  for (size_t i = 0; i < values.size(); ++i) {
    if (!(values[i] > 0 && values[i] <= most)) json.Fail(field, absl::StrCat("must lie in (0, ", most, "]"));
    if (i > 0 && values[i] >= values[i - 1]) json.Fail(field, "must descend");
  }
}

// Reads lists of timesteps. Each must be shorter than the one before, and the first shorter than the model's own.
std::vector<std::vector<double>> StepLadder(JsonConfig& json, size_t longest) {
  std::vector<std::vector<double>> ladder;
  const nlohmann::json* raw = json.Raw("step_ladder");
  if (!raw->is_array()) json.Fail("step_ladder", "must be a list of lists of timesteps");
  for (const nlohmann::json& rung : raw->is_array() ? *raw : nlohmann::json::array()) {
    std::vector<double> timesteps;
    for (const nlohmann::json& t : rung.is_array() ? rung : nlohmann::json::array()) {
      timesteps.push_back(t.is_number() ? t.get<double>() : 0);
    }
    CheckSchedule(json, "step_ladder", timesteps, kMostTimestep);
    if (timesteps.size() >= longest) json.Fail("step_ladder", "must become shorter from timesteps on");
    longest = timesteps.size();
    ladder.push_back(std::move(timesteps));
  }
  return ladder;
}

void ReadFewStep(JsonConfig& json, ModelSettings& s) {
  if (json.Has("timesteps")) {
    s.timesteps = json.Numbers("timesteps", {});
    CheckSchedule(json, "timesteps", s.timesteps, kMostTimestep);
    s.step_ladder.clear();  // the ladder belonged to other timesteps
  }
  if (json.Has("step_ladder")) s.step_ladder = StepLadder(json, s.timesteps.size());
  s.block_latent_frames = static_cast<int>(json.Int("block_latent_frames", 1, 4096, s.block_latent_frames));
  // The reference uses -1 for "all blocks" (num_cached_blocks); here that is 0.
  s.state_window_blocks = static_cast<int>(json.Int("state_window_blocks", -1, 4096, s.state_window_blocks));
  if (s.state_window_blocks == -1) s.state_window_blocks = 0;
  const std::string on_switch = json.String("prompt_switch", s.recompute_last_on_switch ? "recompute_last" : "none");
  if (on_switch != "recompute_last" && on_switch != "none") {
    json.Fail("prompt_switch", "must be \"recompute_last\" or \"none\"");
  }
  s.recompute_last_on_switch = on_switch == "recompute_last";
}

void ReadCommon(JsonConfig& json, ModelSettings& s) {
  s.shift = json.Number("shift", s.shift);
  if (!(s.shift > 0)) json.Fail("shift", "must be positive");
  s.guidance = json.Number("guidance", s.guidance);
  s.negative_prompt = json.String("negative_prompt", s.negative_prompt);
  s.prompt_prefix = Lines(json, "prompt_prefix", s.prompt_prefix);
  s.lower_case = json.Bool("lower_case", s.lower_case);
  if (const nlohmann::json* score = json.Raw("motion_score"); score != nullptr) {
    s.motion_score.reset();  // null: none
    if (!score->is_null()) s.motion_score = static_cast<int>(json.Int("motion_score", 0, 1000));
  }
  s.strip_before_motion_score = json.Bool("strip_before_motion_score", s.strip_before_motion_score);
  s.caption_tokens = static_cast<int>(json.Int("caption_tokens", 2, 8192, s.caption_tokens));
  s.fps = json.Number("fps", s.fps);
  if (!(s.fps > 0 && s.fps <= 240)) json.Fail("fps", "must lie in (0, 240]");
  if (json.Has("sizes")) s.sizes = Sizes(json);
  s.max_latent_frames = static_cast<int>(json.Int("max_latent_frames", 0, 1 << 20, s.max_latent_frames));
}

// A text that is shown beside a prompt: one line of at most so many bytes.
void CheckLine(JsonConfig& json, const char* field, const std::string& text, size_t max_bytes) {
  if (text.size() > max_bytes) json.Fail(field, absl::StrCat("has more than ", max_bytes, " bytes"));
  if (absl::StripAsciiWhitespace(text).empty()) json.Fail(field, "must not be blank");
  if (std::any_of(text.begin(), text.end(), [](char c) { return absl::ascii_iscntrl(c); })) {
    json.Fail(field, "must be one line, without control characters");
  }
}

void ReadDescription(JsonConfig& json, ModelSettings& s) {
  s.about = json.String("about", "");
  if (!s.about.empty()) CheckLine(json, "about", s.about, kMaxAboutBytes);
  s.examples = json.Strings("examples", {});
  if (s.examples.size() > kMaxExamples) json.Fail("examples", absl::StrCat("are more than ", kMaxExamples));
  for (const std::string& example : s.examples) CheckLine(json, "examples", example, kMaxExampleBytes);
}

void ReadSteps(JsonConfig& json, ModelSettings& s) { s.steps = static_cast<int>(json.Int("steps", 1, 1000, s.steps)); }

void ReadSigmas(JsonConfig& json, ModelSettings& s) {
  if (!json.Has("sigmas") && s.sigmas.empty()) return json.Fail("sigmas", "is missing");
  s.sigmas = json.Numbers("sigmas", s.sigmas);
  CheckSchedule(json, "sigmas", s.sigmas, 1);
  if (s.sigmas.size() > kMaxSigmas) json.Fail("sigmas", absl::StrCat("are more than ", kMaxSigmas));
}

void ReadFirstImage(JsonConfig& json, ModelSettings& s) {
  if (!json.Has("first_image")) return;
  const std::string use = json.String("first_image", "");
  for (const FirstImageUse known : {FirstImageUse::kNone, FirstImageUse::kHeld, FirstImageUse::kPrefix}) {
    if (use != FirstImageUseName(known)) continue;
    if (known == FirstImageUse::kPrefix && !s.causal) {
      return json.Fail("first_image", "is \"prefix\", which needs blocks: sampler few_step has them");
    }
    s.first_image = known;
    return;
  }
  json.Fail("first_image", "must be \"none\", \"held\" or \"prefix\"");
}

// Refuses fields that only other samplers have, with an error that names the folder's sampler rather than "not known".
void RefuseOtherSamplers(JsonConfig& json, SamplerKind sampler) {
  const auto refuse = [&](std::initializer_list<const char*> fields) {
    for (const char* field : fields) {
      if (json.Has(field)) {
        json.Fail(field, absl::StrCat("is none of sampler ", SamplerName(sampler), "'s, which this folder has"));
      }
    }
  };
  const bool few_step = sampler == SamplerKind::kFewStep, lcm = sampler == SamplerKind::kFlowLcm;
  if (!few_step) refuse({"timesteps", "step_ladder", "block_latent_frames", "state_window_blocks", "prompt_switch"});
  if (!lcm) refuse({"sigmas"});
  if (few_step || lcm) refuse({"steps"});
  if (sampler != SamplerKind::kFlowUniPc) refuse({"solver_order", "disable_corrector"});
}

}  // namespace

absl::StatusOr<std::optional<SamplerKind>> ApplyFamily(Family family, ModelSettings* settings) {
  const std::string name = absl::StrCat("family ", FamilyName(family));
  absl::StatusOr<nlohmann::json> data = ParseJson(FamilyData(family));
  if (!data.ok() || !data->is_object() || !data->contains("settings"))
    return absl::InternalError(name + ": has no settings");
  std::optional<SamplerKind> sampler;
  if (const auto like = data->find("like"); like != data->end()) {
    const std::optional<Family> base = FamilyNamed(like->get<std::string>());
    if (!base || base == family) return absl::InternalError(name + ": is like no other family");
    ASSIGN_OR_RETURN(sampler, ApplyFamily(*base, settings));
  }
  JsonConfig json(name, (*data)["settings"]);
  if (json.Has("sampler")) sampler = SamplerNamed(json.String("sampler", ""));
  json.Ignore({"sampler"});
  ReadCommon(json, *settings);
  ReadFewStep(json, *settings);
  ReadSteps(json, *settings);
  RETURN_IF_ERROR(json.Finish());
  return sampler;
}

absl::Status OverlayLongtakeJson(JsonConfig json, ModelSettings* settings) {
  json.Ignore({"family", "sampler"});
  RefuseOtherSamplers(json, settings->sampler);
  ReadCommon(json, *settings);
  ReadFirstImage(json, *settings);
  ReadDescription(json, *settings);
  if (settings->sampler == SamplerKind::kFewStep) {
    ReadFewStep(json, *settings);
  } else if (settings->sampler == SamplerKind::kFlowLcm) {
    ReadSigmas(json, *settings);
  } else {
    ReadSteps(json, *settings);
  }
  if (settings->sampler == SamplerKind::kFlowUniPc) ReadUniPcOptions(json, settings->unipc);
  for (const std::string& field : json.Fields()) settings->overlaid.insert(field);
  return json.Finish();
}

nlohmann::ordered_json ToJson(const ModelSettings& s) {
  nlohmann::ordered_json json;
  json["family"] = FamilyName(s.family);
  json["sampler"] = SamplerName(s.sampler);
  json["shift"] = s.shift;
  if (s.sampler == SamplerKind::kFewStep) {
    json["timesteps"] = s.timesteps;
    json["step_ladder"] = s.step_ladder;
    json["block_latent_frames"] = s.block_latent_frames;
    json["state_window_blocks"] = s.state_window_blocks;
    json["prompt_switch"] = s.recompute_last_on_switch ? "recompute_last" : "none";
  } else if (s.sampler == SamplerKind::kFlowLcm) {
    json["sigmas"] = s.sigmas;
  } else {
    json["steps"] = s.steps;
  }
  if (s.sampler == SamplerKind::kFlowUniPc) {
    json["solver_order"] = s.unipc.order;
    json["disable_corrector"] = s.unipc.no_corrector_at;
  }
  json["guidance"] = s.guidance;
  json["negative_prompt"] = s.negative_prompt;
  json["prompt_prefix"] = std::vector<std::string>(absl::StrSplit(s.prompt_prefix, '\n'));
  json["lower_case"] = s.lower_case;
  json["motion_score"] = nullptr;
  if (s.motion_score) json["motion_score"] = *s.motion_score;
  json["strip_before_motion_score"] = s.strip_before_motion_score;
  json["caption_tokens"] = s.caption_tokens;
  json["fps"] = s.fps;
  json["sizes"] = nlohmann::ordered_json::array();
  for (const auto& [width, height] : s.sizes) json["sizes"].push_back(absl::StrCat(width, "x", height));
  json["max_latent_frames"] = s.max_latent_frames;
  json["first_image"] = FirstImageUseName(s.first_image);
  json["about"] = s.about;
  json["examples"] = s.examples;
  return json;
}

}  // namespace longtake
