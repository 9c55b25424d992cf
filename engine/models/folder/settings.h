// The settings of a model folder apart from its weights: how to sample, how to encode prompts, which sizes to offer.
//
// A folder belongs to a family (folder_contents.h). The family's defaults are applied first, then
// scheduler/scheduler_config.json, then longtake.json. Each replaces single fields.
#ifndef LONGTAKE_ENGINE_MODELS_FOLDER_SETTINGS_H_
#define LONGTAKE_ENGINE_MODELS_FOLDER_SETTINGS_H_

#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/models/folder/family.h"

namespace longtake {

enum class SamplerKind {
  kFewStep,        // block by block, with new noise between the steps (LongSANA)
  kFlowDpmSolver,  // diffusers' DPMSolverMultistepScheduler, order 2
  kFlowEuler,      // diffusers' FlowMatchEulerDiscreteScheduler
  kFlowUniPc,      // diffusers' UniPCMultistepScheduler
  kFlowLcm,        // the whole clip at given noise levels, with new noise between the steps (SANA-Video 2.0, 4 steps)
};
// "few_step", "flow_dpm_solver", "flow_euler", "flow_unipc", "flow_lcm": the values of longtake.json's `sampler`.
std::string SamplerName(SamplerKind sampler);
std::optional<SamplerKind> SamplerNamed(std::string_view name);

// Options of kFlowUniPc. The defaults are those of the diffusers class.
struct UniPcSettings {
  int order = 2;                     // 1 to 3
  std::vector<int> no_corrector_at;  // the corrector does not run after these steps

  friend bool operator==(const UniPcSettings&, const UniPcSettings&) = default;
};

// What a video's first image is to the model (specification, image to video): longtake.json's `first_image`.
enum class FirstImageUse {
  kNone,    // requests with one are refused
  kHeld,    // latent frame 0 of the first block, which its denoising steps read at timestep 0 and do not change
  kPrefix,  // a finished block of one latent frame before the first; block-causal models only
};
// "none", "held", "prefix".
std::string FirstImageUseName(FirstImageUse use);

struct ModelSettings {
  Family family = Family::kLongtake;
  SamplerKind sampler = SamplerKind::kFewStep;
  bool causal = true;  // generate in blocks that read a state; else the whole clip is one block
  double shift = 1.0;  // of the noise schedule

  // kFewStep only:
  std::vector<double> timesteps;                 // in (0, 1000], descending
  std::vector<std::vector<double>> step_ladder;  // shorter schedules for an overloaded server, longest first
  int block_latent_frames = 0;
  int state_window_blocks = 0;  // 0: running sum of all blocks
  bool recompute_last_on_switch = true;

  // kFlowLcm only:
  std::vector<double> sigmas;  // noise levels before the steps, in (0, 1], descending

  // The other samplers only:
  int steps = 0;
  UniPcSettings unipc;

  double guidance = 1.0;  // used only if guided()
  std::string negative_prompt;
  std::string prompt_prefix;
  bool lower_case = false;
  std::optional<int> motion_score;  // appended to the prompt; absent: nothing is
  // True: the prompt is stripped, then the motion score is appended. False: the score is appended first, which keeps
  // whitespace between the prompt and the score.
  bool strip_before_motion_score = false;
  int caption_tokens = 300;
  double fps = 16;
  std::vector<std::pair<int, int>> sizes;  // width, height in pixels; the first is the default
  int max_latent_frames = 0;               // 0: as many as the rotary positions allow
  // Unless longtake.json sets it: kHeld for bidirectional models, which are trained on images and text jointly, kNone
  // for block-causal ones, which are not.
  FirstImageUse first_image = FirstImageUse::kNone;

  // For people; nothing is made from them. Of longtake.json only, for they are about one model's weights.
  std::string about;                  // what the model knows; empty: nobody says
  std::vector<std::string> examples;  // prompts that it follows

  std::set<std::string> overlaid;  // fields that longtake.json sets

  // As in diffusers' pipelines, a guidance of 1 or less runs one pass and ignores the negative prompt.
  bool guided() const { return guidance > 1.0; }
  // The beginning of an error about a field's value: "FOLDER/longtake.json: field 'FIELD'" if that file sets the field,
  // else "FOLDER: family NAME: field 'FIELD'".
  std::string SourceOf(const std::string& folder, const std::string& field) const;

  // Errors name the file and the field. A folder is refused if its files contradict each other or do not identify it.
  static absl::StatusOr<ModelSettings> Load(const std::string& folder);
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_FOLDER_SETTINGS_H_
