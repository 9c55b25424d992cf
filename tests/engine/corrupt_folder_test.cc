// A corrupted model folder is refused by name, or loads where the corruption is harmless; it never ends the process.
#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/engine.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/engine/engine_driver.h"
#include "tests/engine/read_file.h"
#include "tests/engine/temp_folder.h"

namespace longtake {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr char kBundled[] = "models/longtake-tiny";

// The files that loading reads.
std::vector<std::string> Files() {
  return {"longtake.json",
          "tokenizer/tokenizer.model",
          "text_encoder/config.json",
          "text_encoder/model.safetensors",
          "transformer/config.json",
          "transformer/diffusion_pytorch_model.safetensors",
          "vae/config.json",
          "vae/diffusion_pytorch_model.safetensors"};
}

class CorruptFolder : public ::testing::Test {
 protected:
  CorruptFolder() {
    for (const std::string& file : Files()) {
      fs::create_directories((fs::path(folder_.path()) / file).parent_path());
      fs::create_symlink(fs::absolute(fs::path(kBundled) / file), fs::path(folder_.path()) / file);
    }
  }

  absl::StatusOr<std::unique_ptr<Engine>> EngineWith(const std::string& file, const std::string& bytes) {
    const fs::path path = fs::path(folder_.path()) / file;
    fs::remove(path);
    std::ofstream(path, std::ios::binary) << bytes;
    auto engine = Engine::Load({.model_dir = folder_.path(), .threads = 1, .max_sessions = 1});
    fs::remove(path);
    fs::create_symlink(fs::absolute(fs::path(kBundled) / file), path);
    return engine;
  }
  absl::Status LoadWith(const std::string& file, const std::string& bytes) { return EngineWith(file, bytes).status(); }
  absl::Status Load() { return Engine::Load({.model_dir = folder_.path(), .threads = 1, .max_sessions = 1}).status(); }

  TempFolder folder_;
};

TEST_F(CorruptFolder, IntactLoads) { EXPECT_TRUE(Load().ok()); }

TEST_F(CorruptFolder, MissingFilesAreNamed) {
  for (const std::string& file : Files()) {
    const fs::path path = fs::path(folder_.path()) / file;
    fs::remove(path);
    EXPECT_THAT(Load().message(), HasSubstr(fs::path(file).filename().string().substr(0, 5))) << file;
    fs::create_symlink(fs::absolute(fs::path(kBundled) / file), path);
  }
}

// Nothing else in the bundled folder says how to sample, so that it does not become another model.
TEST(BundledFolder, WithoutItsSettingsIsRefused) {
  TempFolder copy;
  for (const fs::directory_entry& entry : fs::directory_iterator(kBundled)) {
    if (entry.path().filename() == "longtake.json") continue;
    fs::create_symlink(fs::absolute(entry.path()), fs::path(copy.path()) / entry.path().filename());
  }
  EXPECT_THAT(Engine::Load({.model_dir = copy.path(), .threads = 1, .max_sessions = 1}).status().message(),
              HasSubstr("nothing says how to sample"));
}

// A decoder that looks ahead is of no use to a model that shows block after block; nobody waits for the other parts'
// weights before hearing of it.
TEST_F(CorruptFolder, ADecoderThatLooksAheadIsRefusedByABlockCausalModel) {
  fs::remove(fs::path(folder_.path()) / "vae/config.json");
  folder_.Write("vae/config.json", R"({"_class_name":"AutoencoderKLLTX2Video","decoder_causal":false})");
  fs::remove(fs::path(folder_.path()) / "text_encoder/config.json");
  EXPECT_THAT(LoadWith("longtake.json", R"({"sampler":"few_step"})").message(),
              AllOf(HasSubstr("vae/config.json"), HasSubstr("'decoder_causal'"), HasSubstr("173 video frames")));
}

// A default that does not fit the parts is not blamed on a file that the folder does not have.
TEST_F(CorruptFolder, AFamilysDefaultIsNamedAsSuch) {
  EXPECT_THAT(LoadWith("longtake.json", R"({"sampler":"flow_dpm_solver"})").message(),
              HasSubstr("family sana_video_480p: field 'sizes': 768x528"));
  EXPECT_THAT(LoadWith("longtake.json", R"({"sampler":"few_step","sizes":["256x160","264x160"]})").message(),
              HasSubstr("longtake.json: field 'sizes': 264x160"));
}

TEST_F(CorruptFolder, TruncatedFilesAreNamed) {
  for (const std::string& file : Files()) {
    const std::string bytes = ReadFile(fs::path(kBundled) / file);
    for (const size_t keep : {size_t{0}, size_t{7}, bytes.size() / 2, bytes.size() - 1}) {
      const absl::Status status = LoadWith(file, bytes.substr(0, keep));
      // A text file without its last newline is whole.
      if (status.ok() && keep == bytes.size() - 1 && file.ends_with(".json")) continue;
      EXPECT_FALSE(status.ok()) << file << " of " << keep << " bytes";
      EXPECT_THAT(status.message(), HasSubstr(file)) << keep;
    }
  }
}

// One field of a file changed to what a folder could claim. `names`: what the error must hold.
TEST_F(CorruptFolder, HostileNumbersAreRefusedByName) {
  struct Case {
    const char *file, *field, *value, *names;
  };
  constexpr char kText[] = "text_encoder/config.json", kVideo[] = "transformer/config.json", kVae[] = "vae/config.json",
                 kOurs[] = "longtake.json";
  for (const Case& c : std::vector<Case>{
           {kVideo, "num_layers", "9223372036854775807", "num_layers"},
           {kVideo, "num_layers", "18446744073709551616", "num_layers"},
           {kVideo, "num_layers", "1024", "transformer_blocks.6."},
           {kVideo, "num_attention_heads", "1e308", "num_attention_heads"},
           {kVideo, "attention_head_dim", "1024", "cross_attention_dim"},
           {kVideo, "cross_attention_head_dim", "1024", "attn2"},
           {kVideo, "mlp_ratio", "1e-9", "mlp_ratio"},
           {kVideo, "mlp_ratio", "1e300", "mlp_ratio"},
           {kVideo, "norm_eps", "-1", "norm_eps"},
           {kVideo, "patch_size", "[16,16,16]", "patch_embedding"},
           {kVideo, "patch_size", "[1,-9223372036854775808,2]", "patch_size"},
           {kVideo, "in_channels", "4096", "patch_embedding"},
           {kVideo, "rope_max_seq_len", "1", "rotary positions"},
           {kText, "vocab_size", "1", "embed_tokens"},
           {kText, "hidden_size", "65536", "embed_tokens"},
           {kText, "num_hidden_layers", "1024", "layer_types"},
           {kText, "num_key_value_heads", "1024", "num_key_value_heads"},
           {kText, "rope_parameters", R"({"rope_theta":1e300})", "rope_theta"},
           {kText, "query_pre_attn_scalar", "0", "query_pre_attn_scalar"},
           {kVae, "base_dim", "0", "base_dim"},
           {kVae, "dim_mult", "[8192,8192,8192,8192]", "decoder"},
           {kVae, "dim_mult", "[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]", "dim_mult"},
           {kVae, "z_dim", "8192", "latents_mean"},
           {kVae, "num_res_blocks", "64", "resnets"},
           {kVae, "patch_size", "16", "in_channels"},
           {kOurs, "sizes", R"(["8208x160"])", "sizes"},
           {kOurs, "sizes", R"(["99999999999999999999x16"])", "sizes"},
           {kOurs, "max_latent_frames", "1048576", "max_latent_frames"},
           {kOurs, "block_latent_frames", "4097", "block_latent_frames"},
           {kOurs, "fps", "1e-400", "fps"},
           {kOurs, "shift", "-7", "shift"},
       }) {
    const nlohmann::json value = nlohmann::json::parse(c.value);
    nlohmann::json config = nlohmann::json::parse(ReadFile(fs::path(kBundled) / c.file));
    config[c.field] = value;
    const absl::Status status = LoadWith(c.file, config.dump());
    EXPECT_FALSE(status.ok()) << c.field << " " << c.value;
    EXPECT_THAT(status.message(), HasSubstr(c.names)) << c.field << " " << c.value;
  }
}

// Copying or printing such a value by recursion would overflow the stack.
TEST_F(CorruptFolder, DeepNestingIsRefused) {
  const std::string deep = std::string(1'000'000, '[') + std::string(1'000'000, ']');
  for (const std::string& file : Files()) {
    if (file.ends_with(".model")) continue;
    const char* field = file == "longtake.json" ? "sizes" : file.starts_with("text") ? "rope_parameters" : "patch_size";
    std::string text = absl::StrCat("{\"", field, "\":", deep, "}");
    if (file.ends_with(".safetensors")) {
      const uint64_t length = text.size();
      text.insert(0, reinterpret_cast<const char*>(&length), sizeof length);
    }
    EXPECT_THAT(LoadWith(file, text).message(), HasSubstr(file));
  }
}

TEST_F(CorruptFolder, WhatIsNoFileIsNamed) {
  for (const std::string& file : Files()) {
    const fs::path path = fs::path(folder_.path()) / file;
    const auto expect_named = [&](const char* what) {
      EXPECT_THAT(Load().message(), HasSubstr(file)) << what;
      fs::remove(path);
    };
    fs::remove(path);
    fs::create_symlink(path, path);
    expect_named("a link to itself");
    fs::create_directory(path);
    expect_named("a folder");
    ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
    expect_named("a pipe");  // and nobody waits for its writer
    fs::create_symlink(fs::absolute(fs::path(kBundled) / file), path);
  }
  EXPECT_TRUE(Load().ok());
}

constexpr char kWeights[][64] = {"text_encoder/model.safetensors", "transformer/diffusion_pytorch_model.safetensors",
                                 "vae/diffusion_pytorch_model.safetensors"};

// Files of old writers have headers of any length, so that no tensor is aligned in the file.
TEST_F(CorruptFolder, WeightsBehindAHeaderOfOddLengthAreTheSame) {
  const auto frames = [&] {
    const auto engine = Engine::Load({.model_dir = folder_.path(), .threads = 1, .max_sessions = 1});
    EXPECT_TRUE(engine.ok()) << engine.status();
    if (!engine.ok()) return std::vector<uint8_t>();
    const ModelInfo& model = (*engine)->model();
    const SessionSpec spec = {.size = model.sizes[0], .latent_frames = 1, .seed = 3};
    return RunJobs(**engine, {{.spec = spec, .prompt = "a red ball"}}, 1, 1)[0].bytes;
  };
  const std::vector<uint8_t> intact = frames();
  ASSERT_FALSE(intact.empty());
  for (const char* file : kWeights) {
    std::string bytes = ReadFile(fs::path(kBundled) / file);
    uint64_t length;
    std::memcpy(&length, bytes.data(), sizeof length);
    bytes.insert(8 + length, 1 + length % 2, ' ');
    length += 1 + length % 2;
    bytes.replace(0, sizeof length, reinterpret_cast<const char*>(&length), sizeof length);
    fs::remove(fs::path(folder_.path()) / file);
    folder_.Write(file, bytes);
  }
  EXPECT_TRUE(frames() == intact);
}

TEST_F(CorruptFolder, TheOnlyVariantLoadsAndMixturesAreNamed) {
  for (const char* file : kWeights) {
    const fs::path plain = fs::path(folder_.path()) / file;
    const fs::path half = fs::path(plain).replace_extension("fp16.safetensors");
    const fs::path brain = fs::path(plain).replace_extension("bf16.safetensors");
    fs::rename(plain, half);
    EXPECT_TRUE(Load().ok()) << Load();
    fs::copy(half, brain);
    EXPECT_THAT(Load().message(), HasSubstr("the variants bf16, fp16")) << file;
    fs::copy(half, plain);
    EXPECT_TRUE(Load().ok()) << Load();
    folder_.Write(absl::StrCat(file, ".index.json"), R"({"weight_map":{"a":"gone.safetensors"}})");
    EXPECT_THAT(Load().message(), HasSubstr("are not of one save")) << file;
    fs::remove(absl::StrCat(plain.string(), ".index.json"));
  }
}

// One latent frame from prompt to pixels. Passes may be refused, and pixels may be anything.
void MakeOneLatentFrame(Engine& engine) {
  const ModelInfo& model = engine.model();
  const absl::StatusOr<SessionId> session = engine.OpenSession({.size = model.sizes[0], .latent_frames = 1});
  if (!session.ok()) return;
  const int level = std::max(0, static_cast<int>(model.step_ladder.size()) - 1);
  const int steps = model.step_ladder.empty() ? model.denoise_steps : model.step_ladder[level];
  RunPass(engine, {.kind = PassKind::kEncodePrompt, .session = *session, .prompt = "a red ball"});
  for (int step = 0; step < steps; ++step) {
    RunPass(engine, {.kind = PassKind::kDenoise, .session = *session, .level = level});
  }
  RunPass(engine, {.kind = PassKind::kCommit, .session = *session});
  RunPass(engine, {.kind = PassKind::kDecode, .session = *session});
}

// Bytes of the settings and of the safetensors' headers changed at random, 60 times a file; of files of weights also
// bytes anywhere, 16 times. What still loads has to survive its passes.
TEST_F(CorruptFolder, ChangedBytesNeverEndTheProcess) {
  std::mt19937 random(1);
  int refused = 0, run = 0;
  const auto load = [&](const std::string& file, size_t reach) {
    std::string changed = ReadFile(fs::path(kBundled) / file);
    for (int k = 0; k < 3; ++k) changed[random() % std::min(changed.size(), reach)] = static_cast<char>(random());
    if (const auto engine = EngineWith(file, changed); engine.ok()) {
      MakeOneLatentFrame(**engine);
      ++run;
    } else {
      ++refused;
    }
  };
  for (const std::string& file : Files()) {
    for (int i = 0; i < 60; ++i) load(file, 4000);
    for (int i = 0; i < 16 && file.ends_with(".safetensors"); ++i) load(file, std::string::npos);
  }
  EXPECT_GT(refused, 100);
  EXPECT_GT(run, 50);
}

}  // namespace
}  // namespace longtake
