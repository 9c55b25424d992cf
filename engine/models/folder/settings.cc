#include "engine/models/folder/settings.h"

#include <filesystem>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "common/status_macros.h"
#include "engine/core/json_config.h"

namespace longtake {
namespace {

// A string, or a list of lines.
std::string Lines(JsonConfig& json, const std::string& field) {
  const nlohmann::json* raw = json.Raw(field);
  if (raw == nullptr || raw->is_null()) return "";
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
  return sizes;
}

void CheckTimesteps(JsonConfig& json, const char* field, const std::vector<double>& timesteps) {
  if (timesteps.empty()) json.Fail(field, "must not be empty");
  for (size_t i = 0; i < timesteps.size(); ++i) {
    if (!(timesteps[i] > 0 && timesteps[i] <= 1000)) json.Fail(field, "must lie in (0, 1000]");
    if (i > 0 && timesteps[i] >= timesteps[i - 1]) json.Fail(field, "must descend");
  }
}

// Lists of timesteps, each shorter than the one before, the first than the model's own.
std::vector<std::vector<double>> StepLadder(JsonConfig& json, size_t longest) {
  std::vector<std::vector<double>> ladder;
  const nlohmann::json* raw = json.Raw("step_ladder");
  if (raw == nullptr) return ladder;
  if (!raw->is_array()) json.Fail("step_ladder", "must be a list of lists of timesteps");
  for (const nlohmann::json& rung : raw->is_array() ? *raw : nlohmann::json::array()) {
    std::vector<double> timesteps;
    for (const nlohmann::json& t : rung.is_array() ? rung : nlohmann::json::array()) {
      timesteps.push_back(t.is_number() ? t.get<double>() : 0);
    }
    CheckTimesteps(json, "step_ladder", timesteps);
    if (timesteps.size() >= longest) json.Fail("step_ladder", "must become shorter from timesteps on");
    longest = timesteps.size();
    ladder.push_back(std::move(timesteps));
  }
  return ladder;
}

void ReadCommon(JsonConfig& json, ModelSettings& s) {
  s.guidance = json.Number("guidance", s.guidance);
  s.negative_prompt = json.String("negative_prompt", s.negative_prompt);
  s.prompt_prefix = Lines(json, "prompt_prefix");
  s.lower_case = json.Bool("lower_case", s.lower_case);
  if (json.Has("motion_score")) s.motion_score = static_cast<int>(json.Int("motion_score", 0, 1000));
  json.Raw("motion_score");
  s.caption_tokens = static_cast<int>(json.Int("caption_tokens", 2, 8192, s.caption_tokens));
  s.fps = json.Number("fps", s.fps);
  if (!(s.fps > 0 && s.fps <= 240)) json.Fail("fps", "must lie in (0, 240]");
  if (json.Has("sizes")) s.sizes = Sizes(json);
  s.max_latent_frames = static_cast<int>(json.Int("max_latent_frames", 0, 1 << 20, s.max_latent_frames));
}

absl::Status ReadLongtake(const std::string& path, ModelSettings& s) {
  ASSIGN_OR_RETURN(JsonConfig json, JsonConfig::Load(path));
  const std::string sampler = json.String("sampler", s.causal ? "few_step" : "flow_dpm_solver");
  if (sampler != "few_step" && sampler != "flow_dpm_solver") {
    json.Fail("sampler", "must be \"few_step\" or \"flow_dpm_solver\"");
  }
  s.causal = sampler == "few_step";
  ReadCommon(json, s);
  if (s.causal) {
    s.timesteps = json.Numbers("timesteps", s.timesteps);
    CheckTimesteps(json, "timesteps", s.timesteps);
    s.step_ladder = StepLadder(json, s.timesteps.size());
    s.shift = json.Number("shift", s.shift);
    if (!(s.shift > 0)) json.Fail("shift", "must be positive");
    s.block_latent_frames = static_cast<int>(json.Int("block_latent_frames", 1, 4096, s.block_latent_frames));
    // -1 is the reference's "all of them" (num_cached_blocks), 0 ours.
    s.state_window_blocks = static_cast<int>(json.Int("state_window_blocks", -1, 4096, 0));
    if (s.state_window_blocks == -1) s.state_window_blocks = 0;
    const std::string on_switch = json.String("prompt_switch", "recompute_last");
    if (on_switch != "recompute_last" && on_switch != "none") {
      json.Fail("prompt_switch", "must be \"recompute_last\" or \"none\"");
    }
    s.recompute_last_on_switch = on_switch == "recompute_last";
  } else {
    s.steps = static_cast<int>(json.Int("steps", 1, 1000, s.steps));
  }
  return json.Finish();
}

absl::Status ReadScheduler(const std::string& path, ModelSettings& s) {
  ASSIGN_OR_RETURN(JsonConfig json, JsonConfig::Load(path));
  if (json.String("_class_name", "DPMSolverMultistepScheduler") != "DPMSolverMultistepScheduler") {
    json.Fail("_class_name", "only DPMSolverMultistepScheduler is supported");
  }
  s.flow_shift = json.Number("flow_shift", 1.0);
  if (!(s.flow_shift > 0)) json.Fail("flow_shift", "must be positive");
  // Defaults of the class that would not be the flow solver make absence an error too.
  if (!json.Bool("use_flow_sigmas", false)) json.Fail("use_flow_sigmas", "must be true");
  if (json.String("prediction_type", "epsilon") != "flow_prediction") {
    json.Fail("prediction_type", "must be \"flow_prediction\"");
  }
  json.MustBe("num_train_timesteps", 1000);
  json.MustBe("solver_order", 2);
  json.MustBe("solver_type", "midpoint");
  json.MustBe("algorithm_type", "dpmsolver++");
  json.MustBe("final_sigmas_type", "zero");
  json.MustBe("lower_order_final", true);
  json.MustBe("thresholding", false);
  json.MustBe("use_karras_sigmas", false);
  json.MustBe("use_exponential_sigmas", false);
  json.MustBe("use_beta_sigmas", false);
  json.MustBe("use_lu_lambdas", false);
  json.MustBe("use_dynamic_shifting", false);
  json.MustBe("rescale_betas_zero_snr", false);
  json.MustBe("variance_type", nullptr);
  // Of no effect on the flow schedule, whose sigmas follow from the number of steps and the shift alone; euler_at_final
  // asks for what a final sigma of zero gives anyway.
  json.Ignore({"_diffusers_version", "beta_start", "beta_end", "beta_schedule", "trained_betas",
               "dynamic_thresholding_ratio", "sample_max_value", "euler_at_final", "lambda_min_clipped",
               "timestep_spacing", "steps_offset", "time_shift_type", "flow_shift"});
  return json.Finish();
}

// Whether anything has that name. A link that leads nowhere is not the same as no file: opening it says so.
bool IsThere(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::symlink_status(path, ignored).type() != std::filesystem::file_type::not_found;
}

// Whether model_index.json names the causal class of diffusers' pull request 12723.
absl::StatusOr<bool> NamesCausalTransformer(const std::string& path) {
  if (!IsThere(path)) return false;
  ASSIGN_OR_RETURN(JsonConfig json, JsonConfig::Load(path));
  const nlohmann::json* entry = json.Raw("transformer");  // ["diffusers", class]
  return entry != nullptr && entry->is_array() && entry->size() == 2 &&
         (*entry)[1] == "SanaVideoCausalTransformer3DModel";
}

}  // namespace

absl::StatusOr<ModelSettings> ModelSettings::Load(const std::string& folder) {
  ModelSettings s;
  const std::string ours = folder + "/longtake.json", scheduler = folder + "/scheduler/scheduler_config.json";
  const bool has_ours = IsThere(ours);
  ASSIGN_OR_RETURN(const bool causal_class, NamesCausalTransformer(folder + "/model_index.json"));
  s.causal = has_ours || causal_class;                 // unless our file's "sampler" says otherwise
  if (causal_class && !has_ours) s.motion_score = 10;  // NVlabs' LongSANA configuration
  if (!s.causal) {
    s.lower_case = true;
    s.guidance = 6.0;  // diffusers' pipeline_sana_video.py: its defaults
    s.sizes = {{832, 480}};
    s.max_latent_frames = 21;  // 81 frames, what the model was trained on
  }
  if (has_ours) RETURN_IF_ERROR(ReadLongtake(ours, s));
  if (!s.causal && IsThere(scheduler)) RETURN_IF_ERROR(ReadScheduler(scheduler, s));
  return s;
}

}  // namespace longtake
