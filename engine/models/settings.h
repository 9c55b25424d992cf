// What a model folder says about how its model is used: longtake.json, scheduler/scheduler_config.json,
// model_index.json.
#ifndef LONGTAKE_ENGINE_MODELS_SETTINGS_H_
#define LONGTAKE_ENGINE_MODELS_SETTINGS_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace longtake {

// From a prompt to the text encoder's tokens; specification section 2.
struct CaptionSettings {
  std::string prompt_prefix;  // in front of prompts, not of negative prompts; may be empty
  bool lower_case = false;
  std::optional<int64_t> motion_score;  // appended to prompts as " motion score: N."
  int64_t caption_tokens = 300;         // kept: position 0 and the last caption_tokens - 1
  std::string negative_prompt;          // where a request names none
};

// Block-causal generation; specification section 4.
struct FewStepSettings {
  std::vector<double> timesteps;  // descending, in (0, 1000]
  double shift = 1;
  int block_latent_frames = 0;
  int state_window_blocks = 0;  // blocks whose contributions are kept; 0: all, as a running sum
  bool recompute_last = true;   // at a change of prompt the last block is committed again (prompt_switch)
};

// Bidirectional generation; specification section 5. The rest of the scheduler's settings is fixed.
struct FlowDpmSettings {
  double shift = 1;
  int steps = 50;  // of diffusers' pipeline
};

struct ModelSettings {
  std::optional<FewStepSettings> few_step;  // exactly one of the two samplers, or none where the folder names none
  std::optional<FlowDpmSettings> flow_dpm;
  double guidance = 1;  // 1: none
  CaptionSettings caption;
  double fps = 16;
  std::vector<std::pair<int, int>> sizes;      // width, height in pixels; empty: the folder does not say
  int max_latent_frames = 0;                   // 0: the folder does not say
  std::map<std::string, std::string> classes;  // part ("vae") -> class ("AutoencoderKLWan"), of model_index.json

  // Reads what there is in `folder`: each of the files may be missing. Without longtake.json the settings are those of
  // diffusers' SanaVideoPipeline, but for its instruction prefix, which only a folder's longtake.json can name. Errors
  // name file and field.
  static absl::StatusOr<ModelSettings> Load(const std::string& folder);
  // Whether `part`'s class is one of those; also where model_index.json is missing or does not name the part.
  absl::Status CheckClass(const std::string& folder, const std::string& part,
                          const std::vector<std::string>& supported) const;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_SETTINGS_H_
