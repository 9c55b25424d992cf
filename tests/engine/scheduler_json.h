// scheduler_config.json files as diffusers writes them for SANA-Video.
#ifndef LONGTAKE_TESTS_ENGINE_SCHEDULER_JSON_H_
#define LONGTAKE_TESTS_ENGINE_SCHEDULER_JSON_H_

#include <string>

#include "nlohmann/json.hpp"

namespace longtake {

inline constexpr char kDpmSolverScheduler[] = R"({
  "_class_name": "DPMSolverMultistepScheduler", "_diffusers_version": "0.36.0", "algorithm_type": "dpmsolver++",
  "beta_end": 0.02, "beta_schedule": "linear", "beta_start": 0.0001, "dynamic_thresholding_ratio": 0.995,
  "euler_at_final": false, "final_sigmas_type": "zero", "flow_shift": 8.0, "lambda_min_clipped": "MINUS",
  "lower_order_final": true, "num_train_timesteps": 1000, "prediction_type": "flow_prediction",
  "rescale_betas_zero_snr": false, "sample_max_value": 1.0, "solver_order": 2, "solver_type": "midpoint",
  "steps_offset": 0, "thresholding": false, "time_shift_type": "exponential", "timestep_spacing": "linspace",
  "trained_betas": null, "use_beta_sigmas": false, "use_dynamic_shifting": false, "use_exponential_sigmas": false,
  "use_flow_sigmas": true, "use_karras_sigmas": false, "use_lu_lambdas": false, "variance_type": null})";

inline constexpr char kEulerScheduler[] = R"({
  "_class_name": "FlowMatchEulerDiscreteScheduler", "_diffusers_version": "0.36.0", "base_image_seq_len": 256,
  "base_shift": 0.5, "invert_sigmas": false, "max_image_seq_len": 4096, "max_shift": 1.15, "num_train_timesteps": 1000,
  "shift": 8.0, "shift_terminal": null, "stochastic_sampling": false, "time_shift_type": "exponential",
  "use_beta_sigmas": false, "use_dynamic_shifting": false, "use_exponential_sigmas": false,
  "use_karras_sigmas": false})";

// Made by UniPCMultistepScheduler.from_config of the first: it keeps fields of the other class.
inline constexpr char kUniPcScheduler[] = R"({
  "_class_name": "UniPCMultistepScheduler", "_diffusers_version": "0.36.0", "algorithm_type": "dpmsolver++",
  "beta_end": 0.02, "beta_schedule": "linear", "beta_start": 0.0001, "disable_corrector": [],
  "dynamic_thresholding_ratio": 0.995, "euler_at_final": false, "final_sigmas_type": "zero", "flow_shift": 8.0,
  "lambda_min_clipped": "MINUS", "lower_order_final": true, "num_train_timesteps": 1000, "predict_x0": true,
  "prediction_type": "flow_prediction", "rescale_betas_zero_snr": false, "sample_max_value": 1.0, "shift_terminal": null,
  "sigma_max": null, "sigma_min": null, "solver_order": 2, "solver_p": null, "solver_type": "bh2", "steps_offset": 0,
  "thresholding": false, "time_shift_type": "exponential", "timestep_spacing": "linspace", "trained_betas": null,
  "use_beta_sigmas": false, "use_dynamic_shifting": false, "use_exponential_sigmas": false, "use_flow_sigmas": true,
  "use_karras_sigmas": false, "use_lu_lambdas": false, "variance_type": null})";

// `text` with the fields of `change`; "ABSENT" takes one out. -Infinity is written as diffusers does, which is no JSON.
inline std::string Scheduler(const char* text, const char* change = "{}") {
  nlohmann::json config = nlohmann::json::parse(text);
  const nlohmann::json changes = nlohmann::json::parse(change);
  for (const auto& [field, value] : changes.items()) {
    if (value == "ABSENT") {
      config.erase(field);
    } else {
      config[field] = value;
    }
  }
  std::string out = config.dump();
  if (const size_t at = out.find("\"MINUS\""); at != std::string::npos) out.replace(at, 7, "-Infinity");
  return out;
}

}  // namespace longtake

#endif  // LONGTAKE_TESTS_ENGINE_SCHEDULER_JSON_H_
