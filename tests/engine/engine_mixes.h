// The bundled model under several settings, and sessions whose bytes must be those of each alone.
#ifndef LONGTAKE_TESTS_ENGINE_ENGINE_MIXES_H_
#define LONGTAKE_TESTS_ENGINE_ENGINE_MIXES_H_

#include <algorithm>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "gtest/gtest.h"
#include "tests/engine/bundled_parts.h"
#include "tests/engine/engine_driver.h"
#include "tests/engine/temp_folder.h"

namespace longtake {

inline constexpr Size kLarge{256, 160}, kSmall{128, 96};

// The bundled model's parts under another longtake.json.
inline std::string Variant(const TempFolder& folder, const std::string& longtake_json) {
  LinkBundled(folder, {"transformer", "vae", "text_encoder", "tokenizer"});
  std::ofstream(folder.path() + "/longtake.json") << longtake_json;
  return folder.path();
}

// A first image; every number another one.
inline std::shared_ptr<const FirstImage> Picture(Size size, int number) {
  auto image = std::make_shared<FirstImage>();
  for (int y = 0; y < size.height; ++y) {
    for (int x = 0; x < size.width; ++x) {
      const bool disk = (x - 40) * (x - 40) + (y - 40) * (y - 40) < 900;
      image->rgb.push_back(static_cast<uint8_t>(disk ? 220 : 2 * x * number));
      image->rgb.push_back(static_cast<uint8_t>(disk ? 40 : 90 + y));
      image->rgb.push_back(static_cast<uint8_t>(disk ? 30 * number : 200));
    }
  }
  return image;
}

inline constexpr char kTwoSizes[] =
    R"({"sampler":"few_step","timesteps":[1000,800,400],"shift":1.0,"block_latent_frames":2,
  "state_window_blocks":2,"lower_case":true,"caption_tokens":28,"sizes":["256x160","128x96"],"max_latent_frames":1024})";
inline constexpr char kRunningSum[] =
    R"({"sampler":"few_step","timesteps":[1000,500],"shift":1.0,"block_latent_frames":2,
  "lower_case":true,"caption_tokens":28,"guidance":2.0,"sizes":["256x160","128x96"],"max_latent_frames":1024})";
inline constexpr char kHeldImage[] =
    R"({"sampler":"few_step","timesteps":[1000,500],"shift":1.0,"block_latent_frames":2,"first_image":"held",
  "lower_case":true,"caption_tokens":28,"guidance":2.0,"sizes":["256x160","128x96"],"max_latent_frames":1024})";
inline constexpr char kPrefixImage[] =
    R"({"sampler":"few_step","timesteps":[1000,500],"shift":1.0,"block_latent_frames":2,"first_image":"prefix",
  "lower_case":true,"caption_tokens":28,"sizes":["256x160","128x96"],"max_latent_frames":1024})";
inline constexpr char kBidirectional[] =
    R"({"family":"longtake","sampler":"flow_dpm_solver","steps":3,"guidance":3.0,"lower_case":true,
  "caption_tokens":28,"sizes":["128x96"],"max_latent_frames":6})";

inline constexpr char kUniPc[] =
    R"({"family":"longtake","sampler":"flow_unipc","solver_order":3,"steps":5,"lower_case":true,
  "caption_tokens":28,"sizes":["128x96"],"max_latent_frames":6})";

inline std::vector<Job> Mix() {
  return {
      {.spec = {kLarge, 5, 11}, .prompt = "a big red ball bounces above the meadow under a blue sky"},
      {.spec = {kSmall, 7, 12}, .prompt = "a small yellow star moves left", .join_tick = 2},
      {.spec = {kSmall, 1, 13}, .prompt = "a blue box", .join_tick = 5},
      {.spec = {kLarge, 6, 14},
       .prompt = "a green triangle rises",
       .switch_block = 2,
       .next_prompt = "a white ring falls above the snow under a night sky",
       .join_tick = 1},
      {.spec = {kSmall, 9, 15}, .prompt = "a pink star", .join_tick = 3, .abandon_tick = 14},
  };
}

// Every job's bytes alone, one after another, against together.
inline void ExpectEqualInAnyMix(Engine& alone, Engine& together, const std::vector<Job>& jobs, int mixes) {
  std::vector<Made> solo;
  for (Job job : jobs) {
    job.join_tick = 0;
    job.abandon_tick = -1;
    solo.push_back(RunJobs(alone, {job}, 1.0, 0)[0]);
    const int64_t frames = 1 + 4 * (job.spec.latent_frames - 1);
    EXPECT_EQ(solo.back().frames, frames);
    EXPECT_EQ(solo.back().bytes.size(), frames * job.spec.size.width * job.spec.size.height * 3 / 2);
  }
  for (int mix = 0; mix < mixes; ++mix) {
    const std::vector<Made> made = RunJobs(together, jobs, mix % 2 == 0 ? 0.7 : 0.95, 100 + mix);
    for (size_t i = 0; i < jobs.size(); ++i) {
      ASSERT_LE(made[i].bytes.size(), solo[i].bytes.size());
      if (jobs[i].abandon_tick < 0) {
        EXPECT_EQ(made[i].frames, solo[i].frames) << "job " << i;
      }
      EXPECT_TRUE(std::equal(made[i].bytes.begin(), made[i].bytes.end(), solo[i].bytes.begin()))
          << "job " << i << " differs in mix " << mix;
    }
  }
}

}  // namespace longtake

#endif  // LONGTAKE_TESTS_ENGINE_ENGINE_MIXES_H_
