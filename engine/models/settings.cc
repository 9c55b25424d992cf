#include "engine/models/settings.h"

#include <algorithm>
#include <charconv>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/status_macros.h"
#include "engine/core/json_config.h"

namespace longtake {
namespace {

bool Exists(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::exists(path, ignored);
}

// "256x160" is a width of 256 and a height of 160.
bool ParseSize(const std::string& text, std::pair<int, int>* size) {
  const char* end = text.data() + text.size();
  const auto width = std::from_chars(text.data(), end, size->first);
  if (width.ec != std::errc() || width.ptr == end || *width.ptr != 'x') return false;
  const auto height = std::from_chars(width.ptr + 1, end, size->second);
  return height.ec == std::errc() && height.ptr == end && size->first > 0 && size->second > 0 && size->first <= 16384 &&
         size->second <= 16384;
}

void ReadCaption(JsonConfig& json, CaptionSettings* caption) {
  const nlohmann::json* prefix = json.Raw("prompt_prefix");
  if (prefix != nullptr && prefix->is_array()) {
    caption->prompt_prefix = absl::StrJoin(json.Strings("prompt_prefix", {}), "\n");
  } else {
    caption->prompt_prefix = json.String("prompt_prefix", "");
  }
  caption->lower_case = json.Bool("lower_case", false);
  if (json.Has("motion_score")) caption->motion_score = json.Int("motion_score", 0, 1'000'000);
  json.Raw("motion_score");
  caption->caption_tokens = json.Int("caption_tokens", 2, 8192, 300);
  caption->negative_prompt = json.String("negative_prompt", "");
}

FewStepSettings ReadFewStep(JsonConfig& json) {
  FewStepSettings s;
  s.timesteps = json.Numbers("timesteps", {});
  if (s.timesteps.empty() || s.timesteps.size() > 1000) json.Fail("timesteps", "must list 1 to 1000 timesteps");
  for (size_t i = 0; i < s.timesteps.size(); ++i) {
    if (!(s.timesteps[i] > 0 && s.timesteps[i] <= 1000)) json.Fail("timesteps", "entries must lie in (0, 1000]");
    if (i > 0 && !(s.timesteps[i] < s.timesteps[i - 1])) json.Fail("timesteps", "must descend");
  }
  s.shift = json.Number("shift");
  if (!(s.shift > 0)) json.Fail("shift", "must be positive");
  s.block_latent_frames = static_cast<int>(json.Int("block_latent_frames", 1, 1 << 16));
  // Upstream's number for "all blocks" is -1.
  const int64_t window = json.Int("state_window_blocks", -1, 1 << 16, -1);
  if (window == 0) json.Fail("state_window_blocks", "must be at least 1, or -1 for all blocks");
  s.state_window_blocks = window < 0 ? 0 : static_cast<int>(window);
  const std::string prompt_switch = json.String("prompt_switch", "recompute_last");
  if (prompt_switch != "recompute_last" && prompt_switch != "none") {
    json.Fail("prompt_switch", "must be \"recompute_last\" or \"none\"");
  }
  s.recompute_last = prompt_switch == "recompute_last";
  return s;
}

absl::Status ReadLongtake(const std::string& path, ModelSettings* s) {
  ASSIGN_OR_RETURN(JsonConfig json, JsonConfig::Load(path));
  const std::string sampler = json.String("sampler", "");
  if (sampler == "few_step") {
    s->few_step = ReadFewStep(json);
  } else if (!sampler.empty() && sampler != "flow_dpm_solver") {
    json.Fail("sampler", "must be \"few_step\" or \"flow_dpm_solver\"");
  } else if (sampler.empty() && (json.Has("timesteps") || json.Has("block_latent_frames"))) {
    json.Fail("sampler", "is missing, but there are settings of \"few_step\"");
  }
  s->guidance = json.Number("guidance", s->few_step ? 1.0 : s->guidance);
  if (!(s->guidance >= 0 && s->guidance <= 1000)) json.Fail("guidance", "must lie in [0, 1000]");
  ReadCaption(json, &s->caption);
  s->fps = json.Number("fps", 16);
  if (!(s->fps >= 1 && s->fps <= 240)) json.Fail("fps", "must lie in [1, 240]");
  for (const std::string& text : json.Strings("sizes", {})) {
    std::pair<int, int> size;
    if (!ParseSize(text, &size)) {
      json.Fail("sizes", "entries must be WIDTHxHEIGHT in pixels");
      break;
    }
    s->sizes.push_back(size);
  }
  s->max_latent_frames = static_cast<int>(json.Int("max_latent_frames", 1, 1 << 20, 0));
  return json.Finish();
}

absl::StatusOr<FlowDpmSettings> ReadScheduler(const std::string& path) {
  ASSIGN_OR_RETURN(JsonConfig json, JsonConfig::Load(path));
  FlowDpmSettings s;
  json.MustBe("_class_name", "DPMSolverMultistepScheduler");
  // The class's defaults, used where a field is absent, are others than these: so these have to be there.
  for (const auto& [field, value] :
       {std::pair<const char*, nlohmann::json>{"prediction_type", "flow_prediction"}, {"use_flow_sigmas", true}}) {
    if (!json.Has(field)) json.Fail(field, "is missing");
    json.MustBe(field, value);
  }
  s.shift = json.Number("flow_shift", 1.0);
  if (!(s.shift > 0)) json.Fail("flow_shift", "must be positive");
  json.MustBe("num_train_timesteps", 1000);
  json.MustBe("solver_order", 2);
  json.MustBe("algorithm_type", "dpmsolver++");
  json.MustBe("solver_type", "midpoint");
  json.MustBe("thresholding", false);
  json.MustBe("final_sigmas_type", "zero");
  // At order 2 with a last sigma of zero the last step is of first order, and only it, whatever these say.
  json.Ignore({"lower_order_final", "euler_at_final"});
  for (const char* field : {"use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas", "use_lu_lambdas",
                            "rescale_betas_zero_snr", "use_dynamic_shifting"}) {
    json.MustBe(field, false);
  }
  // Of the noise schedules that use_flow_sigmas replaces, and of options that are off.
  json.Ignore({"_diffusers_version", "beta_start", "beta_end", "beta_schedule", "trained_betas", "lambda_min_clipped",
               "variance_type", "timestep_spacing", "steps_offset", "dynamic_thresholding_ratio", "sample_max_value",
               "time_shift_type"});
  RETURN_IF_ERROR(json.Finish());
  return s;
}

absl::Status ReadIndex(const std::string& path, ModelSettings* s) {
  ASSIGN_OR_RETURN(JsonConfig json, JsonConfig::Load(path));
  for (const char* part : {"transformer", "vae", "text_encoder", "tokenizer", "scheduler"}) {
    const nlohmann::json* entry = json.Raw(part);
    if (entry == nullptr || entry->is_null()) continue;
    if (!entry->is_array() || entry->size() != 2) {
      json.Fail(part, "must be [library, class]");
    } else if ((*entry)[1].is_string()) {  // [null, null] where the pipeline has no such part
      s->classes[part] = (*entry)[1].get<std::string>();
    }
  }
  return json.FirstError();
}

}  // namespace

absl::StatusOr<ModelSettings> ModelSettings::Load(const std::string& folder) {
  const std::string index = folder + "/model_index.json", longtake = folder + "/longtake.json";
  const std::string scheduler = folder + "/scheduler/scheduler_config.json";
  ModelSettings s;
  // diffusers: SanaVideoPipeline.
  s.guidance = 6;
  s.caption.lower_case = true;
  if (Exists(index)) RETURN_IF_ERROR(ReadIndex(index, &s));
  if (Exists(longtake)) RETURN_IF_ERROR(ReadLongtake(longtake, &s));
  // A few-step folder may carry a scheduler that its own sampler replaces.
  if (!s.few_step && Exists(scheduler)) {
    ASSIGN_OR_RETURN(s.flow_dpm, ReadScheduler(scheduler));
  }
  return s;
}

absl::Status ModelSettings::CheckClass(const std::string& folder, const std::string& part,
                                       const std::vector<std::string>& supported) const {
  const auto it = classes.find(part);
  if (it == classes.end() || std::find(supported.begin(), supported.end(), it->second) != supported.end()) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(folder, "/model_index.json: field '", part, "' names ", it->second,
                                                 ", but only ", absl::StrJoin(supported, " and "), " is supported"));
}

}  // namespace longtake
