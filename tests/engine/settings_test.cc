#include "engine/models/folder/settings.h"

#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/engine/temp_folder.h"

namespace longtake {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

json Causal() {
  return json::parse(R"({"sampler": "few_step", "timesteps": [1000, 960, 889, 727], "shift": 7.0,
                         "block_latent_frames": 10})");
}

// As diffusers writes it for SANA-Video, the number that is no JSON included.
std::string Scheduler(const char* change) {
  json config = json::parse(R"({
    "_class_name": "DPMSolverMultistepScheduler", "_diffusers_version": "0.36.0", "algorithm_type": "dpmsolver++",
    "beta_end": 0.02, "beta_schedule": "linear", "beta_start": 0.0001, "dynamic_thresholding_ratio": 0.995,
    "euler_at_final": false, "final_sigmas_type": "zero", "flow_shift": 8.0, "lambda_min_clipped": "MINUS",
    "lower_order_final": true, "num_train_timesteps": 1000, "prediction_type": "flow_prediction",
    "rescale_betas_zero_snr": false, "sample_max_value": 1.0, "solver_order": 2, "solver_type": "midpoint",
    "steps_offset": 0, "thresholding": false, "time_shift_type": "exponential", "timestep_spacing": "linspace",
    "trained_betas": null, "use_beta_sigmas": false, "use_dynamic_shifting": false, "use_exponential_sigmas": false,
    "use_flow_sigmas": true, "use_karras_sigmas": false, "use_lu_lambdas": false, "variance_type": null})");
  const json changes = json::parse(change);
  for (const auto& [field, value] : changes.items()) {
    if (value == "ABSENT") {
      config.erase(field);
    } else {
      config[field] = value;
    }
  }
  std::string text = config.dump();
  if (const size_t at = text.find("\"MINUS\""); at != std::string::npos) text.replace(at, 7, "-Infinity");
  return text;
}

TEST(ModelSettings, ReadsACausalFolder) {
  TempFolder folder;
  json file = Causal();
  file.update(json::parse(R"({"state_window_blocks": 3, "guidance": 1.5, "negative_prompt": "blurry",
    "prompt_prefix": ["one", "two: "], "lower_case": true, "motion_score": 10, "caption_tokens": 28, "fps": 24,
    "sizes": ["256x160", "160x256"], "max_latent_frames": 64, "prompt_switch": "none"})"));
  folder.Write("longtake.json", file.dump());
  const auto s = ModelSettings::Load(folder.path());
  ASSERT_TRUE(s.ok()) << s.status();
  EXPECT_TRUE(s->causal);
  EXPECT_THAT(s->timesteps, ElementsAre(1000, 960, 889, 727));
  EXPECT_EQ(s->shift, 7.0);
  EXPECT_EQ(s->block_latent_frames, 10);
  EXPECT_EQ(s->state_window_blocks, 3);
  EXPECT_EQ(s->guidance, 1.5);
  EXPECT_EQ(s->negative_prompt, "blurry");
  EXPECT_EQ(s->prompt_prefix, "one\ntwo: ");
  EXPECT_TRUE(s->lower_case);
  EXPECT_EQ(s->motion_score, 10);
  EXPECT_EQ(s->caption_tokens, 28);
  EXPECT_EQ(s->fps, 24);
  EXPECT_THAT(s->sizes, ElementsAre(Pair(256, 160), Pair(160, 256)));
  EXPECT_EQ(s->max_latent_frames, 64);
  EXPECT_FALSE(s->recompute_last_on_switch);
}

TEST(ModelSettings, WhatACausalFolderLeavesOut) {
  TempFolder folder;
  folder.Write("longtake.json", Causal().dump());
  const auto s = ModelSettings::Load(folder.path());
  ASSERT_TRUE(s.ok()) << s.status();
  EXPECT_EQ(s->state_window_blocks, 0);
  EXPECT_EQ(s->guidance, 1.0);
  EXPECT_EQ(s->prompt_prefix, "");
  EXPECT_FALSE(s->lower_case);
  EXPECT_FALSE(s->motion_score.has_value());
  EXPECT_EQ(s->caption_tokens, 300);
  EXPECT_TRUE(s->recompute_last_on_switch);
}

TEST(ModelSettings, ReadsABidirectionalFolder) {
  TempFolder folder;
  folder.Write("scheduler/scheduler_config.json", Scheduler("{}"));
  auto s = ModelSettings::Load(folder.path());
  ASSERT_TRUE(s.ok()) << s.status();
  EXPECT_FALSE(s->causal);
  EXPECT_EQ(s->flow_shift, 8.0);
  EXPECT_TRUE(s->lower_case);
  EXPECT_EQ(s->guidance, 6.0);
  EXPECT_EQ(s->steps, 50);
  // With a file of ours that names the prefix.
  folder.Write("longtake.json", R"({"sampler": "flow_dpm_solver", "prompt_prefix": "p", "motion_score": 30})");
  s = ModelSettings::Load(folder.path());
  ASSERT_TRUE(s.ok()) << s.status();
  EXPECT_FALSE(s->causal);
  EXPECT_EQ(s->flow_shift, 8.0);
  EXPECT_EQ(s->prompt_prefix, "p");
  EXPECT_EQ(s->motion_score, 30);
}

TEST(ModelSettings, TakesTheCausalClassForLongSana) {
  const TempFolder folder;
  folder.Write("model_index.json",
               R"({"transformer":["diffusers","SanaVideoCausalTransformer3DModel"],"scheduler":["diffusers","X"]})");
  folder.Write("scheduler/scheduler_config.json", R"({"_class_name":"FlowMatchEulerDiscreteScheduler"})");
  const auto settings = ModelSettings::Load(folder.path());
  ASSERT_TRUE(settings.ok()) << settings.status();
  EXPECT_TRUE(settings->causal);
  EXPECT_EQ(settings->timesteps, (std::vector<double>{1000, 960, 889, 727}));
  EXPECT_EQ(settings->block_latent_frames, 10);
  EXPECT_EQ(settings->motion_score, 10);
  EXPECT_FALSE(settings->lower_case);
}

TEST(ModelSettings, RefusesSettingsByName) {
  const std::vector<std::pair<const char*, const char*>> table = {
      {R"({"sampler": "euler"})", "'sampler'"},
      {R"({"sampler": 4})", "'sampler'"},
      {R"({"timesteps": []})", "'timesteps'"},
      {R"({"step_ladder": 4})", "'step_ladder'"},
      {R"({"step_ladder": [4]})", "'step_ladder'"},
      {R"({"step_ladder": [[1000, 900, 800, 700]]})", "'step_ladder'"},
      {R"({"step_ladder": [[1000, 900], [1000, 800]]})", "'step_ladder'"},
      {R"({"step_ladder": [[900, 1000]]})", "'step_ladder'"},
      {R"({"step_ladder": [[1000, "a"]]})", "'step_ladder'"},
      {R"({"timesteps": [1001]})", "'timesteps'"},
      {R"({"timesteps": [900, 0]})", "'timesteps'"},
      {R"({"timesteps": [900, 900]})", "'timesteps'"},
      {R"({"timesteps": [900, "800"]})", "'timesteps'"},
      {R"({"shift": 0})", "'shift'"},
      {R"({"shift": "7"})", "'shift'"},
      {R"({"block_latent_frames": 0})", "'block_latent_frames'"},
      {R"({"block_latent_frames": 1.5})", "'block_latent_frames'"},
      {R"({"state_window_blocks": -2})", "'state_window_blocks'"},
      {R"({"prompt_prefix": 3})", "'prompt_prefix'"},
      {R"({"prompt_prefix": ["a", 3]})", "'prompt_prefix'"},
      {R"({"lower_case": "yes"})", "'lower_case'"},
      {R"({"motion_score": "10"})", "'motion_score'"},
      {R"({"caption_tokens": 1})", "'caption_tokens'"},
      {R"({"caption_tokens": 99999999})", "'caption_tokens'"},
      {R"({"fps": 0})", "'fps'"},
      {R"({"sizes": ["256"]})", "'sizes'"},
      {R"({"sizes": ["256x160x3"]})", "'sizes'"},
      {R"({"sizes": ["0x160"]})", "'sizes'"},
      {R"({"sizes": ["-256x160"]})", "'sizes'"},
      {R"({"sizes": ["256x99999999999999999999"]})", "'sizes'"},
      {R"({"sizes": [256, 160]})", "'sizes'"},
      {R"({"max_latent_frames": -1})", "'max_latent_frames'"},
      {R"({"prompt_switch": "sometimes"})", "'prompt_switch'"},
      {R"({"negative_prompt": 0})", "'negative_prompt'"},
      {R"({"guidance": "strong"})", "'guidance'"},
      {R"({"levels": "t/1000"})", "'levels'"},
  };
  TempFolder folder;
  for (const auto& [change, error] : table) {
    json file = Causal();
    file.update(json::parse(change));
    folder.Write("longtake.json", file.dump());
    const auto s = ModelSettings::Load(folder.path());
    ASSERT_FALSE(s.ok()) << change;
    EXPECT_THAT(std::string(s.status().message()), AllOf(HasSubstr("longtake.json"), HasSubstr(error))) << change;
  }
  for (const char* text : {"", "{", "[]", "null"}) {
    folder.Write("longtake.json", text);
    EXPECT_THAT(std::string(ModelSettings::Load(folder.path()).status().message()), HasSubstr("longtake.json"));
  }
}

TEST(ModelSettings, RefusesSchedulersByName) {
  const std::vector<std::pair<const char*, const char*>> table = {
      {R"({"_class_name": "FlowMatchEulerDiscreteScheduler"})", "'_class_name'"},
      {R"({"prediction_type": "epsilon"})", "'prediction_type'"},
      {R"({"prediction_type": "ABSENT"})", "'prediction_type'"},
      {R"({"use_flow_sigmas": false})", "'use_flow_sigmas'"},
      {R"({"use_flow_sigmas": "ABSENT"})", "'use_flow_sigmas'"},
      {R"({"solver_order": 3})", "'solver_order'"},
      {R"({"algorithm_type": "sde-dpmsolver++"})", "'algorithm_type'"},
      {R"({"solver_type": "heun"})", "'solver_type'"},
      {R"({"final_sigmas_type": "sigma_min"})", "'final_sigmas_type'"},
      {R"({"flow_shift": 0})", "'flow_shift'"},
      {R"({"flow_shift": "8"})", "'flow_shift'"},
      {R"({"num_train_timesteps": 500})", "'num_train_timesteps'"},
      {R"({"thresholding": true})", "'thresholding'"},
      {R"({"use_karras_sigmas": true})", "'use_karras_sigmas'"},
      {R"({"use_exponential_sigmas": true})", "'use_exponential_sigmas'"},
      {R"({"use_beta_sigmas": true})", "'use_beta_sigmas'"},
      {R"({"use_lu_lambdas": true})", "'use_lu_lambdas'"},
      {R"({"use_dynamic_shifting": true})", "'use_dynamic_shifting'"},
      {R"({"stochastic_sampling": true})", "'stochastic_sampling'"},
  };
  TempFolder folder;
  for (const auto& [change, error] : table) {
    folder.Write("scheduler/scheduler_config.json", Scheduler(change));
    const auto s = ModelSettings::Load(folder.path());
    ASSERT_FALSE(s.ok()) << change;
    EXPECT_THAT(std::string(s.status().message()), AllOf(HasSubstr("scheduler_config.json"), HasSubstr(error)))
        << change;
  }
}

}  // namespace
}  // namespace longtake
