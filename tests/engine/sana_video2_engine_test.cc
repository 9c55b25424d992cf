// Clips through the engine with a small random transformer of SANA-Video 2.0 and an LTX-2.3 VAE; text encoder and
// tokenizer are the bundled model's.
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/core/safetensors.h"
#include "engine/engine.h"
#include "engine/models/sana/config.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/engine/bundled_parts.h"
#include "tests/engine/engine_driver.h"
#include "tests/engine/ltx2_folder.h"

namespace longtake {
namespace {

using ::testing::HasSubstr;
namespace fs = std::filesystem;

constexpr int64_t kChannels = 8, kCaption = 128;
constexpr Size kSize{64, 32};
constexpr int kLatents = 3;
constexpr char kSettings[] =
    R"({"sampler":"flow_dpm_solver","steps":2,"guidance":3.0,"lower_case":true,"prompt_prefix":"","motion_score":null,
  "caption_tokens":28,"sizes":["64x32","32x32"],"max_latent_frames":3})";

nlohmann::json Config() {
  return {{"_class_name", "SanaVideo2"},
          {"layers", 5},
          {"width", 48},
          {"linear_head_dim", 12},
          {"softmax_head_dim", 24},
          {"cross_heads", 2},
          {"softmax_ratio", 0.4},
          {"ffn_ratio", 2},
          {"residual_block", 2},
          {"channels", kChannels},
          {"caption_channels", kCaption},
          {"patch_size", {1, 1, 1}}};
}

// Every tensor of the configuration, with the names of NVlabs' checkpoints.
std::map<std::string, std::vector<int64_t>> Tensors(const nlohmann::json& c) {
  const int64_t D = c["width"], F = D * c["ffn_ratio"].get<int64_t>(), channels = c["channels"],
                d = c["linear_head_dim"];
  std::map<std::string, std::vector<int64_t>> all = {{"attention_y_norm.weight", {D}},
                                                     {"attn_res.attn_proj.weight", {1, D}},
                                                     {"attn_res.mlp_proj.weight", {1, D}},
                                                     {"attn_res.final_proj.weight", {1, D}},
                                                     {"final_layer.scale_shift_table", {2, D}},
                                                     {"x_embedder.proj.weight", {D, channels, 1, 1, 1}},
                                                     {"x_embedder.proj.bias", {D}}};
  const auto affine = [&](const std::string& name, int64_t outputs, int64_t inputs) {
    all[name + ".weight"] = {outputs, inputs};
    all[name + ".bias"] = {outputs};
  };
  affine("t_embedder.mlp.0", D, 256);
  affine("t_embedder.mlp.2", D, D);
  affine("t_block.1", 6 * D, D);
  affine("y_embedder.y_proj.fc1", D, c["caption_channels"]);
  affine("y_embedder.y_proj.fc2", D, D);
  affine("final_layer.linear", channels, D);
  for (int i = 0; i < c["layers"]; ++i) {
    const std::string at = absl::StrCat("blocks.", i, ".");
    all[at + "scale_shift_table"] = {6, D};
    all[at + "attn.qkv.weight"] = {3 * D, D};
    for (const char* norm : {"attn.q_norm", "attn.k_norm", "cross_attn.q_norm", "cross_attn.k_norm"}) {
      all[at + norm + ".weight"] = {D};
    }
    affine(at + "attn.proj", D, D);
    affine(at + "attn.output_gate", D, D);
    if (i != 1 && i != 4) {  // with 2 softmax layers of 5: 5 / 2 - 1 and 5 - 1
      affine(at + "attn.beta_proj", D / d, D);
      all[at + "attn.o_norm.weight"] = {d};
    }
    affine(at + "cross_attn.q_linear", D, D);
    affine(at + "cross_attn.kv_linear", 2 * D, D);
    affine(at + "cross_attn.proj", D, D);
    affine(at + "mlp.gate_proj", F, D);
    affine(at + "mlp.up_proj", F, D);
    affine(at + "mlp.down_proj", D, F);
  }
  return all;
}

// A model folder.
class Model {
 public:
  explicit Model(const nlohmann::json& config = Config(), const std::string& settings = kSettings)
      : vae_(Ltx2Kind::kLtx23, 1, 32, 1, kChannels) {
    LinkBundled(folder_, {"text_encoder", "tokenizer"});
    folder_.Write("longtake.json", settings);
    folder_.Write("transformer/config.json", config.dump());
    std::mt19937 random(5);
    std::map<std::string, std::vector<float>> values;
    std::map<std::string, HostTensor> file;
    for (const auto& [name, shape] : Tensors(config)) {
      int64_t count = 1;
      for (const int64_t each : shape) count *= each;
      const bool norm = name.ends_with("norm.weight");
      std::normal_distribution<float> normal(
          norm ? 1.f : 0.f,
          shape.size() == 1 ? 0.2f : std::sqrt(static_cast<float>(shape[0]) / static_cast<float>(count)));
      std::vector<float>& v = values[name];
      for (int64_t i = 0; i < count; ++i) v.push_back(normal(random));
      file[name] = {v.data(), DType::kF32, shape};
    }
    if (!WriteSafetensors(folder_.path() + "/transformer/diffusion_pytorch_model.safetensors", file).ok()) {
      std::abort();
    }
    fs::create_directory(folder_.path() + "/vae");
    vae_.Write(folder_.path() + "/vae");
  }
  const std::string& path() const { return folder_.path(); }

 private:
  TempFolder folder_;
  Ltx2Folder vae_;
};

absl::StatusOr<std::unique_ptr<Engine>> Load(const Model& model, int threads = 2) {
  return Engine::Load({.model_dir = model.path(),
                       .backend = LONGTAKE_TEST_BACKEND,
                       .dtype = LONGTAKE_TEST_DTYPE,
                       .threads = threads,
                       .max_sessions = 3});
}

constexpr bool kEmulated = std::string_view(LONGTAKE_TEST_BACKEND) == "cuda";

// Of these seeds of mixes the first alone where a device is emulated, on which a clip takes ten seconds.
std::vector<uint32_t> Mixes(std::vector<uint32_t> seeds) {
  if (kEmulated) seeds.resize(1);
  return seeds;
}

Job ClipJob(Size size, int latents, uint64_t seed, const std::string& prompt, int tick = 0) {
  return {.spec = {size, latents, seed}, .prompt = prompt, .next_prompt = {}, .join_tick = tick};
}

// Three clips of two sizes, in any mix and on any number of threads, have the bytes that each has alone.
TEST(SanaVideo2Engine, ClipsAreTheSameInAnyMix) {
  const Model model;
  const std::vector<Job> jobs = {ClipJob(kSize, kLatents, 7, "a red ball"), ClipJob({32, 32}, kLatents, 8, "a cube"),
                                 ClipJob(kSize, 2, 9, "a boat", 3)};
  auto engine = Load(model);
  ASSERT_TRUE(engine.ok()) << engine.status();
  EXPECT_EQ((*engine)->model().block_latent_frames, 0);
  EXPECT_FALSE((*engine)->model().switches_prompt);
  std::vector<Made> alone;
  for (const Job& job : jobs) alone.push_back(RunJobs(**engine, {job}, 1.0, 1).front());
  EXPECT_EQ(alone[0].frames, 17);
  EXPECT_NE(alone[0].bytes, std::vector<uint8_t>(alone[0].bytes.size(), alone[0].bytes[0]));

  auto other = Load(model, /*threads=*/1);
  ASSERT_TRUE(other.ok()) << other.status();
  EXPECT_EQ((*other)->model().numerics_id, (*engine)->model().numerics_id);
  for (const uint32_t mix : Mixes({2u, 3u, 4u})) {
    const std::vector<Made> mixed = RunJobs(**other, jobs, 0.7, mix);
    for (size_t i = 0; i < jobs.size(); ++i) EXPECT_EQ(mixed[i].bytes, alone[i].bytes) << i << ", mix " << mix;
  }
}

// With new noise between the steps, which depends on the clip's seed alone.
TEST(SanaVideo2Engine, FourStepsAreTheSameInAnyMix) {
  if (kEmulated) GTEST_SKIP() << "slow, and its sampler is tested on every backend (ops_test)";
  const Model model(Config(),
                    R"({"sampler":"flow_lcm","sigmas":[0.9998332262,0.9471688271,0.8568977118,0.6663702130],
                        "guidance":1,"lower_case":true,"prompt_prefix":"","motion_score":null,"caption_tokens":28,
                        "sizes":["64x32","32x32"],"max_latent_frames":3})");
  const std::vector<Job> jobs = {ClipJob(kSize, kLatents, 7, "a red ball"), ClipJob(kSize, kLatents, 8, "a red ball"),
                                 ClipJob({32, 32}, 2, 9, "a boat", 3)};
  auto engine = Load(model);
  ASSERT_TRUE(engine.ok()) << engine.status();
  EXPECT_EQ((*engine)->model().denoise_steps, 4);
  EXPECT_EQ((*engine)->model().sampler, "flow_lcm");
  std::vector<Made> alone;
  for (const Job& job : jobs) alone.push_back(RunJobs(**engine, {job}, 1.0, 1).front());
  EXPECT_NE(alone[0].bytes, alone[1].bytes);
  for (const uint32_t mix : {2u, 3u}) {
    const std::vector<Made> mixed = RunJobs(**engine, jobs, 0.7, mix);
    for (size_t i = 0; i < jobs.size(); ++i) EXPECT_EQ(mixed[i].bytes, alone[i].bytes) << i << ", mix " << mix;
  }
}

TEST(SanaVideo2Engine, MemoryIsAsPlanned) {
  const Model model;
  auto engine = Load(model);
  ASSERT_TRUE(engine.ok()) << engine.status();
  const std::vector<MemoryRegion> before = (*engine)->memory();
  RunJobs(**engine,
          {ClipJob(kSize, kLatents, 7, "a red ball"), ClipJob(kSize, kLatents, 8, "a cube"),
           ClipJob(kSize, kLatents, 9, "a boat")},
          1.0, 1);
  const std::vector<MemoryRegion> after = (*engine)->memory();
  for (size_t i = 0; i < after.size(); ++i) {
    EXPECT_EQ(after[i].planned_bytes, before[i].planned_bytes) << after[i].name;
    EXPECT_LE(after[i].used_bytes, after[i].planned_bytes) << after[i].name;
  }
}

TEST(SanaVideo2Engine, WrongConfigurationsAreNamed) {
  struct Case {
    const char* field;
    nlohmann::json value;
    const char* why;
  };
  for (const Case& c : std::vector<Case>{{"width", 50, "must divide width"},
                                         {"softmax_head_dim", 32, "'softmax_head_dim' must divide width"},
                                         {"linear_head_dim", 3, "must be even"},
                                         {"cross_heads", 5, "'cross_heads' must divide width"},
                                         {"softmax_ratio", 0, "must lie in (0, 1]"},
                                         {"softmax_ratio", nullptr, "'softmax_ratio'"},
                                         {"patch_size", {1, 2}, "three entries"},
                                         {"residual_block", 0, "'residual_block'"},
                                         {"layers", 200, "'residual_block' is too small"},
                                         {"num_layers", 5, "'num_layers' is not known"}}) {
    nlohmann::json config = Config();
    if (c.field == std::string("layers")) config["residual_block"] = 1;
    config[c.field] = c.value;
    const TempFolder folder;
    const auto loaded = SanaConfig::Load(folder.Write("config.json", config.dump()));
    EXPECT_THAT(std::string(loaded.status().message()), testing::AllOf(HasSubstr("config.json"), HasSubstr(c.why)));
  }
}

TEST(SanaVideo2Engine, IsNoBlockCausalModel) {
  const Model model(Config(), R"({"sampler":"few_step","timesteps":[1000,500],"block_latent_frames":2})");
  EXPECT_THAT(std::string(Load(model).status().message()),
              HasSubstr("longtake.json: field 'sampler' is \"few_step\", which makes block by block"));
}

}  // namespace
}  // namespace longtake
