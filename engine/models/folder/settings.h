// What a model folder says besides its weights: how to sample, how to caption, what to offer.
//
// A folder has a family (folder_contents.h). The family's defaults come first, then scheduler/scheduler_config.json,
// then longtake.json, each replacing single fields.
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
  kFewStep,        // block by block, fresh noise between the steps (LongSANA)
  kFlowDpmSolver,  // diffusers' DPMSolverMultistepScheduler, order 2
  kFlowEuler,      // diffusers' FlowMatchEulerDiscreteScheduler
  kFlowUniPc,      // diffusers' UniPCMultistepScheduler
};
// "few_step", "flow_dpm_solver", "flow_euler", "flow_unipc": as longtake.json's `sampler` spells it.
std::string SamplerName(SamplerKind sampler);
std::optional<SamplerKind> SamplerNamed(std::string_view name);

// Of kFlowUniPc. Defaults are the class's own.
struct UniPcSettings {
  int order = 2;                     // 1 to 3
  std::vector<int> no_corrector_at;  // steps after which the corrector does not run

  friend bool operator==(const UniPcSettings&, const UniPcSettings&) = default;
};

struct ModelSettings {
  Family family = Family::kLongtake;
  SamplerKind sampler = SamplerKind::kFewStep;
  bool causal = true;  // generates in blocks that read a state; else the whole clip is one block
  double shift = 1.0;  // of the noise schedule

  // kFewStep alone.
  std::vector<double> timesteps;                 // in (0, 1000], descending
  std::vector<std::vector<double>> step_ladder;  // shorter ones for an overloaded server, the longest first
  int block_latent_frames = 0;
  int state_window_blocks = 0;  // 0: running sum of all
  bool recompute_last_on_switch = true;

  // The others.
  int steps = 0;
  UniPcSettings unipc;

  double guidance = 1.0;  // guided() says whether it acts
  std::string negative_prompt;
  std::string prompt_prefix;
  bool lower_case = false;
  std::optional<int> motion_score;  // absent: nothing is appended to the prompt
  // The motion score is appended to the stripped prompt. Else the prompt is stripped with the score behind it, which
  // keeps blanks between them.
  bool strip_before_motion_score = false;
  int caption_tokens = 300;
  double fps = 16;
  std::vector<std::pair<int, int>> sizes;  // width, height in pixels; the first is the default
  int max_latent_frames = 0;               // 0: what the rotary positions allow

  std::set<std::string> overlaid;  // fields that longtake.json sets

  // As in diffusers' pipelines: a guidance of 1 or less runs one pass, and the negative prompt is not read.
  bool guided() const { return guidance > 1.0; }
  // "FOLDER/longtake.json: field 'FIELD'" where that file sets it, else "family NAME: field 'FIELD'": the head of an
  // error about a field's value.
  std::string SourceOf(const std::string& folder, const std::string& field) const;

  // Errors name the file and the field. A folder whose files contradict each other, or do not say what the folder is,
  // is refused.
  static absl::StatusOr<ModelSettings> Load(const std::string& folder);
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_FOLDER_SETTINGS_H_
