// One batch of everything that requests may differ in: sizes, adapters, a first picture, none of these.
#include <array>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/engine.h"
#include "gtest/gtest.h"
#include "tests/engine/engine_driver.h"
#include "tests/engine/engine_mixes.h"
#include "tests/engine/lora_files.h"
#include "tests/engine/temp_folder.h"

namespace longtake {
namespace {

class MixedBatchTest : public testing::TestWithParam<const char*> {};

INSTANTIATE_TEST_SUITE_P(Uses, MixedBatchTest, testing::Values(kHeldImage, kPrefixImage), [](const auto& info) {
  return std::string(std::array{"Held", "Prefix"}[info.index]);
});

TEST_P(MixedBatchTest, HasTheBytesOfEachAlone) {
  const TempFolder model, adapters;
  Variant(model, GetParam());
  adapters.Write("one.safetensors", LoraFile(TinyAdapter(1, 8)));
  adapters.Write("two.safetensors", LoraFile(TinyAdapter(100, 3)));
  const auto load = [&](int threads) {
    EngineOptions options;
    options.model_dir = model.path();
    options.adapters_dir = adapters.path();
    options.backend = "cpu";
    options.threads = threads;
    options.max_sessions = 5;
    return Engine::Load(options);
  };
  const auto job = [](Size size, uint64_t seed, std::vector<AdapterUse> uses, int picture, int tick) {
    SessionSpec spec{.size = size, .latent_frames = 5, .seed = seed, .adapters = std::move(uses)};
    if (picture != 0) spec.first_image = Picture(size, picture);
    return Job{.spec = std::move(spec), .prompt = "a big red ball bounces", .next_prompt = {}, .join_tick = tick};
  };
  const std::vector<Job> jobs = {
      job(kSmall, 1, {}, 0, 0),
      job(kLarge, 2, {{.name = "one"}}, 0, 0),
      job(kSmall, 3, {{.name = "two", .strength = 0.7}}, 0, 1),
      job(kSmall, 4, {}, 1, 0),
      job(kLarge, 5, {{.name = "two"}, {.name = "one", .strength = -0.5}}, 2, 2),
  };
  auto engine = load(/*threads=*/2);
  ASSERT_TRUE(engine.ok()) << engine.status();
  std::vector<Made> alone;
  for (const Job& each : jobs) alone.push_back(RunJobs(**engine, {each}, /*activity=*/1, /*mix_seed=*/1).front());
  auto other = load(/*threads=*/1);
  ASSERT_TRUE(other.ok()) << other.status();
  for (const auto& [used, mix] :
       {std::pair{engine->get(), 2u}, std::pair{engine->get(), 3u}, std::pair{other->get(), 4u}}) {
    const std::vector<Made> together = RunJobs(*used, jobs, /*activity=*/0.8, mix);
    for (size_t i = 0; i < jobs.size(); ++i) EXPECT_EQ(together[i].bytes, alone[i].bytes) << i << ", mix " << mix;
  }
}

}  // namespace
}  // namespace longtake
