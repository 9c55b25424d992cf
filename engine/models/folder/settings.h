// What a model folder says besides its weights: how to sample, how to caption, what to offer. `longtake.json` of causal
// folders (ours), `scheduler/scheduler_config.json` of bidirectional ones (diffusers').
#ifndef LONGTAKE_ENGINE_MODELS_FOLDER_SETTINGS_H_
#define LONGTAKE_ENGINE_MODELS_FOLDER_SETTINGS_H_

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace longtake {

struct ModelSettings {
  bool causal = false;

  // Few-step sampling, block-causal folders.
  std::vector<double> timesteps = {1000, 960, 889, 727};
  std::vector<std::vector<double>> step_ladder;  // shorter ones for an overloaded server, the longest first
  double shift = 7.0;
  int block_latent_frames = 10;
  int state_window_blocks = 0;  // 0: running sum of all
  bool recompute_last_on_switch = true;

  // Flow DPM-Solver++, bidirectional folders.
  int steps = 50;
  double flow_shift = 8.0;

  // Both.
  double guidance = 1.0;  // 1: none; the negative prompt is not looked at
  std::string negative_prompt;
  std::string prompt_prefix;
  bool lower_case = false;
  std::optional<int> motion_score;  // absent: nothing is appended to the prompt
  int caption_tokens = 300;
  double fps = 16;
  std::vector<std::pair<int, int>> sizes;  // width, height in pixels; the first is the default
  int max_latent_frames = 0;               // 0: what the rotary positions allow

  // From `folder`/longtake.json where it is. Else, where model_index.json names SanaVideoCausalTransformer3DModel, the
  // defaults above with a motion score of 10: LongSANA. Else from `folder`/scheduler/scheduler_config.json, with
  // diffusers' SANA-Video pipeline defaults (lower case, 50 steps, guidance 6, 832x480, 81 frames). Errors name file
  // and field.
  static absl::StatusOr<ModelSettings> Load(const std::string& folder);
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_FOLDER_SETTINGS_H_
