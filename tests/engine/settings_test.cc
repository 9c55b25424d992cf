#include "engine/models/folder/settings.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "engine/models/folder/settings_fields.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/engine/scheduler_json.h"
#include "tests/engine/temp_folder.h"

namespace longtake {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Pair;
using ::testing::StartsWith;

json Causal() {
  return json::parse(R"({"sampler": "few_step", "timesteps": [1000, 960, 889, 727], "shift": 7.0,
                         "block_latent_frames": 10})");
}

absl::StatusOr<ModelSettings> LoadOurs(const std::string& longtake_json) {
  const TempFolder folder;
  folder.Write("longtake.json", longtake_json);
  return ModelSettings::Load(folder.path());
}

absl::StatusOr<ModelSettings> LoadScheduler(const std::string& scheduler) {
  const TempFolder folder;
  folder.Write("scheduler/scheduler_config.json", scheduler);
  return ModelSettings::Load(folder.path());
}

TEST(ModelSettings, ReadsACausalFolder) {
  json file = Causal();
  file.update(json::parse(R"({"state_window_blocks": 3, "guidance": 1.5, "negative_prompt": "blurry",
    "prompt_prefix": ["one", "two: "], "lower_case": true, "motion_score": 10, "caption_tokens": 28, "fps": 24,
    "sizes": ["256x160", "160x256"], "max_latent_frames": 64, "prompt_switch": "none",
    "step_ladder": [[1000, 500], [800]], "strip_before_motion_score": true})"));
  const auto s = LoadOurs(file.dump());
  ASSERT_TRUE(s.ok()) << s.status();
  EXPECT_TRUE(s->causal);
  EXPECT_THAT(s->timesteps, ElementsAre(1000, 960, 889, 727));
  EXPECT_THAT(s->step_ladder, ElementsAre(ElementsAre(1000, 500), ElementsAre(800)));
  EXPECT_EQ(s->shift, 7.0);
  EXPECT_EQ(s->block_latent_frames, 10);
  EXPECT_EQ(s->state_window_blocks, 3);
  EXPECT_EQ(s->guidance, 1.5);
  EXPECT_EQ(s->negative_prompt, "blurry");
  EXPECT_EQ(s->prompt_prefix, "one\ntwo: ");
  EXPECT_TRUE(s->lower_case);
  EXPECT_EQ(s->motion_score, 10);
  EXPECT_TRUE(s->strip_before_motion_score);
  EXPECT_EQ(s->caption_tokens, 28);
  EXPECT_EQ(s->fps, 24);
  EXPECT_THAT(s->sizes, ElementsAre(Pair(256, 160), Pair(160, 256)));
  EXPECT_EQ(s->max_latent_frames, 64);
  EXPECT_FALSE(s->recompute_last_on_switch);
}

TEST(ModelSettings, WhatAFolderOfOursLeavesOut) {
  const auto s = LoadOurs(Causal().dump());
  ASSERT_TRUE(s.ok()) << s.status();
  EXPECT_EQ(s->family, Family::kLongtake);
  EXPECT_EQ(s->state_window_blocks, 0);
  EXPECT_EQ(s->guidance, 1.0);
  EXPECT_EQ(s->prompt_prefix, "");
  EXPECT_FALSE(s->lower_case);
  EXPECT_FALSE(s->motion_score.has_value());
  EXPECT_EQ(s->caption_tokens, 300);
  EXPECT_TRUE(s->recompute_last_on_switch);
}

TEST(ModelSettings, SanaVideoHasThePipelinesDefaults) {
  const auto s = LoadScheduler(Scheduler(kDpmSolverScheduler));
  ASSERT_TRUE(s.ok()) << s.status();
  EXPECT_FALSE(s->causal);
  EXPECT_EQ(s->shift, 8.0);
  EXPECT_TRUE(s->lower_case);
  EXPECT_EQ(s->guidance, 6.0);
  EXPECT_EQ(s->steps, 50);
  EXPECT_EQ(s->negative_prompt, "");
  EXPECT_FALSE(s->motion_score.has_value());
  EXPECT_EQ(s->caption_tokens, 300);
  EXPECT_EQ(s->max_latent_frames, 21);
  EXPECT_THAT(s->prompt_prefix, AllOf(StartsWith("Given a user prompt, generate an 'Enhanced prompt' that"),
                                      HasSubstr("suitable for video generation"), EndsWith("\nUser Prompt: ")));
  EXPECT_EQ(std::count(s->prompt_prefix.begin(), s->prompt_prefix.end(), '\n'), 7);
  EXPECT_EQ(s->sizes.front(), std::pair(832, 480));
  EXPECT_EQ(s->sizes.size(), 11u);
}

TEST(ModelSettings, The720pFamilyDiffersInSizesAndFrames) {
  const TempFolder folder;
  folder.Write("scheduler/scheduler_config.json", Scheduler(kDpmSolverScheduler));
  const auto s480 = ModelSettings::Load(folder.path());
  folder.Write("transformer/config.json", R"({"sample_size": 22})");
  const auto s720 = ModelSettings::Load(folder.path());
  ASSERT_TRUE(s480.ok() && s720.ok()) << s720.status();
  EXPECT_EQ(s720->sizes.front(), std::pair(1280, 704));
  EXPECT_EQ(s720->sizes.size(), 11u);
  EXPECT_EQ(s720->max_latent_frames, 11);
  json a = ToJson(*s480), b = ToJson(*s720);
  for (const char* field : {"family", "sizes", "max_latent_frames"}) a[field] = b[field] = nullptr;
  EXPECT_EQ(a, b);
}

TEST(ModelSettings, LongSanaHasTheDefaultsOfNvlabsScript) {
  const auto s = LoadOurs(R"({"family": "longsana"})");
  ASSERT_TRUE(s.ok()) << s.status();
  EXPECT_TRUE(s->causal);
  EXPECT_THAT(s->timesteps, ElementsAre(1000, 960, 889, 727));
  EXPECT_EQ(s->shift, 7.0);
  EXPECT_EQ(s->block_latent_frames, 10);
  EXPECT_FALSE(s->guided());
  EXPECT_EQ(s->motion_score, 10);
  EXPECT_FALSE(s->lower_case);
  EXPECT_TRUE(s->strip_before_motion_score);
  EXPECT_THAT(s->prompt_prefix, AllOf(StartsWith("Given a user prompt, generate an \"Enhanced prompt\" that"),
                                      HasSubstr("suitable for image generation"), EndsWith("\nUser Prompt: ")));
  EXPECT_EQ(s->max_latent_frames, 0);
}

// Each family's own folder, and values that none of its defaults has.
struct FamilyFolder {
  const char *longtake, *scheduler, *sample_size;
};
const std::vector<FamilyFolder>& FamilyFolders() {
  static const std::vector<FamilyFolder> folders = {
      {R"({})", kDpmSolverScheduler, "30"},
      {R"({})", kEulerScheduler, "30"},
      {R"({})", kUniPcScheduler, "22"},
      {R"({"sampler": "flow_dpm_solver"})", nullptr, "30"},
      {R"({"family": "longsana", "sampler": "few_step"})", nullptr, "30"},
      {R"({"sampler": "few_step"})", nullptr, "64"},
      {R"({"family": "longtake", "sampler": "flow_unipc"})", nullptr, "64"},
  };
  return folders;
}

TEST(ModelSettings, EveryDefaultSurvivesAFileThatNamesOneOtherField) {
  const json values = json::parse(R"({
    "shift": 2.5, "timesteps": [900, 300], "step_ladder": [[700]], "block_latent_frames": 3, "state_window_blocks": 4,
    "prompt_switch": "none", "steps": 7, "solver_order": 3, "disable_corrector": [0],
    "guidance": 3.5, "negative_prompt": "n", "prompt_prefix": ["p: "], "lower_case": "NOT", "motion_score": 55,
    "strip_before_motion_score": "NOT", "caption_tokens": 77, "fps": 30, "sizes": ["64x64"], "max_latent_frames": 9,
    "first_image": "NOT",
    "about": "Balls.", "examples": ["a red ball"]})");
  for (const FamilyFolder& family : FamilyFolders()) {
    const TempFolder folder;
    if (family.scheduler != nullptr) folder.Write("scheduler/scheduler_config.json", Scheduler(family.scheduler));
    folder.Write("transformer/config.json", std::string(R"({"sample_size":)") + family.sample_size + "}");
    folder.Write("longtake.json", family.longtake);
    const auto defaults = ModelSettings::Load(folder.path());
    ASSERT_TRUE(defaults.ok()) << family.longtake << defaults.status();
    const json expected = ToJson(*defaults);
    for (const auto& [field, value] : expected.items()) {
      if (field == "family" || field == "sampler") continue;
      ASSERT_TRUE(values.contains(field)) << field << ": this table has no value for it";
      const json other = values[field] != "NOT"   ? values[field]
                         : field == "first_image" ? json(value == "none" ? "held" : "none")
                                                  : json(!value.get<bool>());
      ASSERT_NE(value, other) << field;
      json file = json::parse(family.longtake);
      file[field] = other;
      folder.Write("longtake.json", file.dump());
      const auto s = ModelSettings::Load(folder.path());
      ASSERT_TRUE(s.ok()) << file << s.status();
      json changed = expected;
      changed[field] = other;
      EXPECT_EQ(json(ToJson(*s)), changed) << file;
    }
    // Fields of other samplers are refused by name.
    for (const auto& [field, value] : values.items()) {
      if (expected.contains(field)) continue;
      json file = json::parse(family.longtake);
      file[field] = value;
      folder.Write("longtake.json", file.dump());
      EXPECT_THAT(std::string(ModelSettings::Load(folder.path()).status().message()),
                  AllOf(HasSubstr("longtake.json"), HasSubstr("'" + field + "'"), HasSubstr("sampler")));
    }
  }
}

// What is printed, taken for a folder's longtake.json, is the same folder.
TEST(ModelSettings, PrintsAFileThatSaysTheSame) {
  for (const FamilyFolder& family : FamilyFolders()) {
    const TempFolder folder;
    if (family.scheduler != nullptr) folder.Write("scheduler/scheduler_config.json", Scheduler(family.scheduler));
    folder.Write("transformer/config.json", std::string(R"({"sample_size":)") + family.sample_size + "}");
    folder.Write("longtake.json", family.longtake);
    const auto first = ModelSettings::Load(folder.path());
    ASSERT_TRUE(first.ok()) << first.status();
    folder.Write("longtake.json", ToJson(*first).dump());
    const auto second = ModelSettings::Load(folder.path());
    ASSERT_TRUE(second.ok()) << second.status();
    EXPECT_EQ(ToJson(*first), ToJson(*second));
  }
}

TEST(ModelSettings, ErrorsNameTheFileThatSetsAField) {
  auto s = LoadOurs(R"({"family": "longsana"})");
  ASSERT_TRUE(s.ok()) << s.status();
  EXPECT_EQ(s->SourceOf("m", "sizes"), "m: family longsana: field 'sizes'");
  s = LoadOurs(R"({"family": "longsana", "sizes": ["64x64"]})");
  ASSERT_TRUE(s.ok()) << s.status();
  EXPECT_EQ(s->SourceOf("m", "sizes"), "m/longtake.json: field 'sizes'");
}

TEST(ModelSettings, NullTakesTheMotionScoreAway) {
  const auto s = LoadOurs(R"({"family": "longsana", "motion_score": null, "prompt_prefix": ""})");
  ASSERT_TRUE(s.ok()) << s.status();
  EXPECT_FALSE(s->motion_score.has_value());
  EXPECT_EQ(s->prompt_prefix, "");
}

TEST(ModelSettings, TextsForPeopleHaveALength) {
  const auto load = [](const char* field, const json& value) {
    json file = Causal();
    file[field] = value;
    return LoadOurs(file.dump());
  };
  const auto s = load("about", std::string(400, 'a'));
  ASSERT_TRUE(s.ok()) << s.status();
  EXPECT_EQ(s->about, std::string(400, 'a'));
  EXPECT_THAT(std::string(load("about", std::string(401, 'a')).status().message()),
              AllOf(HasSubstr("longtake.json"), HasSubstr("'about'"), HasSubstr("400 bytes")));
  EXPECT_EQ(load("examples", {std::string(200, 'a'), "b"})->examples.size(), 2u);
  EXPECT_THAT(std::string(load("examples", {"b", std::string(201, 'a')}).status().message()),
              AllOf(HasSubstr("'examples'"), HasSubstr("200 bytes")));
}

TEST(ModelSettings, NoiseLevelsOfFlowLcm) {
  const auto load = [](const char* more) {
    return LoadOurs(std::string(R"({"family": "longtake", "sampler": "flow_lcm")") + more + "}");
  };
  const auto s = load(R"(, "sigmas": [1, 0.25])");
  ASSERT_TRUE(s.ok()) << s.status();
  EXPECT_EQ(s->sampler, SamplerKind::kFlowLcm);
  EXPECT_FALSE(s->causal);
  EXPECT_THAT(s->sigmas, ElementsAre(1, 0.25));
  for (const auto& [more, why] : std::vector<std::pair<const char*, const char*>>{
           {"", "'sigmas' is missing"},
           {R"(, "sigmas": [])", "'sigmas' must not be empty"},
           {R"(, "sigmas": [1.001])", "'sigmas' must lie in (0, 1]"},
           {R"(, "sigmas": [0.5, 0])", "'sigmas' must lie in (0, 1]"},
           {R"(, "sigmas": [0.5, 0.5])", "'sigmas' must descend"},
           {R"(, "sigmas": [0.5], "steps": 1)", "'steps' is none of sampler flow_lcm's"},
           {R"(, "sigmas": [0.5], "timesteps": [500])", "'timesteps' is none of sampler flow_lcm's"}}) {
    EXPECT_THAT(std::string(load(more).status().message()), AllOf(HasSubstr("longtake.json"), HasSubstr(why)));
  }
}

// diffusers' pipelines guide above 1 only.
TEST(ModelSettings, GuidanceOfOneOrLessIsNone) {
  for (const auto& [guidance, guided] : std::vector<std::pair<const char*, bool>>{
           {"-1", false}, {"0", false}, {"0.5", false}, {"1", false}, {"1.001", true}, {"6", true}}) {
    const auto s = LoadOurs(std::string(R"({"sampler": "few_step", "guidance": )") + guidance + "}");
    ASSERT_TRUE(s.ok()) << s.status();
    EXPECT_EQ(s->guided(), guided) << guidance;
  }
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
      {R"({"sizes": []})", "'sizes'"},
      {R"({"strip_before_motion_score": 1})", "'strip_before_motion_score'"},
      {R"({"steps": 4})", "'steps'"},
      {R"({"sigmas": [0.5]})", "'sigmas'"},
      {R"({"max_latent_frames": -1})", "'max_latent_frames'"},
      {R"({"prompt_switch": "sometimes"})", "'prompt_switch'"},
      {R"({"negative_prompt": 0})", "'negative_prompt'"},
      {R"({"guidance": "strong"})", "'guidance'"},
      {R"({"levels": "t/1000"})", "'levels'"},
      {R"({"about": ["balls"]})", "'about'"},
      {R"({"about": "  "})", "'about'"},
      {R"({"about": "balls\nand stars"})", "'about'"},
      {R"({"examples": "a red ball"})", "'examples'"},
      {R"({"examples": [7]})", "'examples'"},
      {R"({"examples": ["a red ball", ""]})", "'examples'"},
      {R"({"examples": ["a red ball\u001b[31m"]})", "'examples'"},
      {R"({"examples": ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13"]})", "'examples'"},
  };
  for (const auto& [change, error] : table) {
    json file = Causal();
    file.update(json::parse(change));
    const auto s = LoadOurs(file.dump());
    ASSERT_FALSE(s.ok()) << change;
    EXPECT_THAT(std::string(s.status().message()), AllOf(HasSubstr("longtake.json"), HasSubstr(error))) << change;
  }
  for (const char* text : {"", "{", "[]", "null"}) {
    EXPECT_THAT(std::string(LoadOurs(text).status().message()), HasSubstr("longtake.json"));
  }
}

TEST(ModelSettings, ReadsSchedulers) {
  auto s = LoadScheduler(Scheduler(kDpmSolverScheduler, R"({"flow_shift": 3.0})"));
  ASSERT_TRUE(s.ok()) << s.status();
  EXPECT_EQ(s->sampler, SamplerKind::kFlowDpmSolver);
  EXPECT_EQ(s->shift, 3.0);
  s = LoadScheduler(Scheduler(kDpmSolverScheduler, R"({"flow_shift": "ABSENT"})"));
  ASSERT_TRUE(s.ok()) << s.status();
  EXPECT_EQ(s->shift, 1.0);  // the class's own

  s = LoadScheduler(Scheduler(kEulerScheduler, R"({"shift": 3.0})"));
  ASSERT_TRUE(s.ok()) << s.status();
  EXPECT_EQ(s->sampler, SamplerKind::kFlowEuler);
  EXPECT_EQ(s->shift, 3.0);

  s = LoadScheduler(Scheduler(kUniPcScheduler));
  ASSERT_TRUE(s.ok()) << s.status();
  EXPECT_EQ(s->sampler, SamplerKind::kFlowUniPc);
  EXPECT_EQ(s->shift, 8.0);
  EXPECT_EQ(s->unipc, UniPcSettings{});
  s = LoadScheduler(
      Scheduler(kUniPcScheduler, R"({"solver_order": 3, "solver_type": "midpoint", "disable_corrector": [0, 1]})"));
  ASSERT_TRUE(s.ok()) << s.status();
  EXPECT_EQ(s->unipc, (UniPcSettings{.order = 3, .no_corrector_at = {0, 1}}));
}

TEST(ModelSettings, RefusesSchedulersByName) {
  // {scheduler, {change, field that the error names}}
  const std::vector<std::pair<const char*, std::vector<std::pair<const char*, const char*>>>> table = {
      {kDpmSolverScheduler,
       {
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
           {R"({"shift": 3.0})", "'shift'"},
           {R"({"num_train_timesteps": 500})", "'num_train_timesteps'"},
           {R"({"thresholding": true})", "'thresholding'"},
           {R"({"use_karras_sigmas": true})", "'use_karras_sigmas'"},
           {R"({"use_exponential_sigmas": true})", "'use_exponential_sigmas'"},
           {R"({"use_beta_sigmas": true})", "'use_beta_sigmas'"},
           {R"({"use_lu_lambdas": true})", "'use_lu_lambdas'"},
           {R"({"use_dynamic_shifting": true})", "'use_dynamic_shifting'"},
           {R"({"new_in_1_0": 1})", "'new_in_1_0'"},
       }},
      {kEulerScheduler,
       {
           {R"({"shift": -1})", "'shift'"},
           // What diffusers' documentation advises sets nothing, and the class runs with a shift of 1.
           {R"({"flow_shift": 8.0, "shift": 1.0})", "'flow_shift'"},
           {R"({"shift_terminal": 0.1})", "'shift_terminal'"},
           {R"({"invert_sigmas": true})", "'invert_sigmas'"},
           {R"({"stochastic_sampling": true})", "'stochastic_sampling'"},
           {R"({"use_dynamic_shifting": true})", "'use_dynamic_shifting'"},
           {R"({"use_karras_sigmas": true})", "'use_karras_sigmas'"},
           {R"({"new_in_1_0": 1})", "'new_in_1_0'"},
       }},
      {kUniPcScheduler,
       {
           {R"({"solver_order": 4})", "'solver_order'"},
           {R"({"solver_type": "bh1"})", "'solver_type'"},
           {R"({"disable_corrector": [-1]})", "'disable_corrector'"},
           {R"({"predict_x0": false})", "'predict_x0'"},
           {R"({"solver_p": {}})", "'solver_p'"},
           {R"({"lower_order_final": false})", "'lower_order_final'"},
           {R"({"final_sigmas_type": "sigma_min"})", "'final_sigmas_type'"},
           {R"({"prediction_type": "ABSENT"})", "'prediction_type'"},
           {R"({"use_flow_sigmas": "ABSENT"})", "'use_flow_sigmas'"},
           {R"({"shift_terminal": 0.1})", "'shift_terminal'"},
           {R"({"thresholding": true})", "'thresholding'"},
           {R"({"new_in_1_0": 1})", "'new_in_1_0'"},
       }},
  };
  for (const auto& [scheduler, changes] : table) {
    for (const auto& [change, error] : changes) {
      const auto s = LoadScheduler(Scheduler(scheduler, change));
      ASSERT_FALSE(s.ok()) << change;
      EXPECT_THAT(std::string(s.status().message()), AllOf(HasSubstr("scheduler_config.json"), HasSubstr(error)))
          << change;
    }
  }
}

}  // namespace
}  // namespace longtake
