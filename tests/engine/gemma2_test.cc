// What parity with transformers (tests/parity) does not show: configs in all their spellings, and errors that name the
// fault.
#include "engine/models/gemma2/gemma2.h"

#include <memory>
#include <string>
#include <vector>

#include "engine/cpu/cpu_ops.h"
#include "engine/reference/reference_ops.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/tiny_gemma2.h"

namespace longtake {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;

class Gemma2Test : public ::testing::Test {
 protected:
  // The hidden states of `sequences`, each {ids, length}, run as one batch.
  std::vector<float> Run(const std::string& path, const std::vector<std::vector<int32_t>>& sequences,
                         std::vector<int64_t> lengths = {}) {
    auto model = Gemma2::Load(*ops_, path, nullptr);
    if (!model.ok()) {
      ADD_FAILURE() << model.status();
      return {};
    }
    std::vector<TextSequence> batch;
    int64_t rows = 0;
    for (size_t i = 0; i < sequences.size(); ++i) {
      const auto size = static_cast<int64_t>(sequences[i].size());
      batch.push_back({.ids = sequences[i], .length = lengths.empty() ? size : lengths[i]});
      rows += size;
    }
    const int64_t width = (*model)->config().width;
    const auto scratch = ops_->device().Allocate((*model)->ScratchBytes(rows));
    const auto out = ops_->device().Allocate(rows * width * sizeof(float));
    const absl::Status status =
        (*model)->Forward(batch, scratch->data(), MakeMat(out->data(), DType::kF32, rows, width));
    EXPECT_TRUE(status.ok()) << status;
    return {out->f32(), out->f32() + rows * width};
  }
  std::string Write(const json& config, const std::string& prefix = "") {
    return WriteTinyGemma2(folder_, "model" + std::to_string(next_++), config, TinyGemma2Weights(config, prefix));
  }
  std::string LoadError(const std::string& path) {
    return std::string(Gemma2::Load(*ops_, path, nullptr).status().message());
  }

  TempFolder folder_;
  std::unique_ptr<Ops> ops_ = MakeReferenceOps();
  int next_ = 0;
};

const std::vector<int32_t> kIds = {2, 17, 90, 4, 255, 31, 8, 120};

class Gemma2BatchTest : public Gemma2Test, public ::testing::WithParamInterface<std::string> {};

TEST_P(Gemma2BatchTest, APromptsRowsDependNeitherOnTheBatchNorOnPadding) {
  if (GetParam() != "reference") {
    auto cpu = MakeCpuOps({.threads = 2, .dtype = GetParam()});
    if (!cpu.ok()) GTEST_SKIP() << cpu.status();
    ops_ = *std::move(cpu);
  }
  const std::string path = Write(TinyGemma2Config());
  const std::vector<float> alone = Run(path, {kIds});
  std::vector<int32_t> padded = kIds;
  padded.resize(13, 0);
  const std::vector<float> batch = Run(path, {{2, 5, 5}, padded, {2}}, {2, 8, 1});
  const auto row = static_cast<int64_t>(alone.size() / kIds.size());
  EXPECT_EQ(alone, std::vector<float>(batch.begin() + 3 * row, batch.begin() + 11 * row));
}

INSTANTIATE_TEST_SUITE_P(Backends, Gemma2BatchTest, ::testing::Values("reference", "float32", "bfloat16"),
                         [](const auto& test) { return test.param; });

TEST_F(Gemma2Test, TransformersFourAndFiveSpellTheSameModel) {
  const json five = TinyGemma2Config();
  const std::vector<float> expected = Run(Write(five), {kIds});
  json four = five;
  four.erase("rope_parameters");
  four.erase("dtype");
  four.erase("use_bidirectional_attention");
  four.update(json::parse(R"({"rope_theta": 10000.0, "rope_scaling": null, "torch_dtype": "float32",
                              "transformers_version": "4.57.1"})"));
  EXPECT_EQ(Run(Write(four), {kIds}), expected);
  four.erase("layer_types");  // before 4.52: every other layer slides, the first included
  four.erase("rope_scaling");
  four.update(json::parse(R"({"hidden_act": "gelu_pytorch_tanh", "cache_implementation": "hybrid",
                              "eos_token_id": [1, 107], "architectures": ["Gemma2ForCausalLM"]})"));
  EXPECT_EQ(Run(Write(four), {kIds}), expected);
  // A causal language model's names, with its projection to logits.
  auto tensors = TinyGemma2Weights(four, "model.");
  tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"];
  EXPECT_EQ(Run(WriteTinyGemma2(folder_, "lm", four, tensors), {kIds}), expected);
}

TEST_F(Gemma2Test, EveryFieldThatMattersChangesTheResult) {
  const json config = TinyGemma2Config();
  const std::vector<float> expected = Run(Write(config), {kIds});
  const std::vector<const char*> changes = {
      R"({"attn_logit_softcapping": null})",
      R"({"attn_logit_softcapping": 50.0})",
      R"({"query_pre_attn_scalar": 24})",
      R"({"rms_norm_eps": 0.1})",
      R"({"sliding_window": 2})",
      R"({"sliding_window": 4096})",
      R"({"layer_types": ["full_attention", "full_attention"]})",
      R"({"layer_types": ["full_attention", "sliding_attention"]})",
      R"({"hidden_activation": "silu"})",
      R"({"rope_parameters": {"rope_theta": 100.0, "rope_type": "default"}})",
  };
  for (const char* change : changes) {
    json other = config;
    other.update(json::parse(change));
    EXPECT_NE(Run(Write(other), {kIds}), expected) << change;
  }
}

TEST_F(Gemma2Test, BiasesAreAdded) {
  json config = TinyGemma2Config();
  config["attention_bias"] = true;
  auto tensors = TinyGemma2Weights(config, "");
  for (int layer = 0; layer < 2; ++layer) {
    for (const auto& [name, width] : {std::pair<std::string, int64_t>{"q", 24}, {"k", 12}, {"v", 12}, {"o", 12}}) {
      tensors["layers." + std::to_string(layer) + ".self_attn." + name + "_proj.bias"] = {
          {width}, std::vector<float>(width, 0.f)};
    }
  }
  EXPECT_EQ(Run(WriteTinyGemma2(folder_, "zero", config, tensors), {kIds}), Run(Write(TinyGemma2Config()), {kIds}));
  tensors["layers.1.self_attn.v_proj.bias"].values[3] = 0.5f;
  EXPECT_NE(Run(WriteTinyGemma2(folder_, "one", config, tensors), {kIds}), Run(Write(TinyGemma2Config()), {kIds}));
}

TEST_F(Gemma2Test, RefusesConfigsByName) {
  const std::vector<std::pair<const char*, const char*>> table = {
      {R"({"model_type": "gemma3"})", "'model_type'"},
      {R"({"architectures": ["LlamaModel"]})", "'architectures'"},
      {R"({"use_bidirectional_attention": true})", "'use_bidirectional_attention'"},
      {R"({"hidden_activation": "gelu"})", "'hidden_activation'"},
      {R"({"attn_logit_softcapping": 0})", "'attn_logit_softcapping'"},
      {R"({"attn_logit_softcapping": "50"})", "'attn_logit_softcapping'"},
      {R"({"query_pre_attn_scalar": 0})", "'query_pre_attn_scalar'"},
      {R"({"query_pre_attn_scalar": -4})", "'query_pre_attn_scalar'"},
      {R"({"rope_parameters": {"rope_theta": 10000.0, "rope_type": "linear", "factor": 2.0}})", "'rope_parameters'"},
      {R"({"rope_parameters": 3})", "'rope_parameters'"},
      {R"({"rope_scaling": {"type": "dynamic", "factor": 2.0}})", "'rope_scaling'"},
      {R"({"rope_scaling": {"rope_type": "default", "factor": 2.0}})", "'factor'"},
      {R"({"rope_theta": -1.0, "rope_parameters": null})", "'rope_theta'"},
      {R"({"sliding_window": 0})", "'sliding_window'"},
      {R"({"sliding_window": null})", "'sliding_window'"},
      {R"({"layer_types": ["full_attention"]})", "'layer_types'"},
      {R"({"layer_types": ["full_attention", "chunked_attention"]})", "'layer_types'"},
      {R"({"layer_types": "full_attention"})", "'layer_types'"},
      {R"({"head_dim": 5})", "'head_dim'"},
      {R"({"num_key_value_heads": 3})", "'num_key_value_heads'"},
      {R"({"num_hidden_layers": 0})", "'num_hidden_layers'"},
      {R"({"num_hidden_layers": 1e300})", "'num_hidden_layers'"},
      {R"({"vocab_size": -1})", "'vocab_size'"},
      {R"({"hidden_size": "wide"})", "'hidden_size'"},
      {R"({"rms_norm_eps": -1.0})", "'rms_norm_eps'"},
      {R"({"attention_bias": 1})", "'attention_bias'"},
      {R"({"quantization_config": {"bits": 4}})", "'quantization_config'"},
      {R"({"is_encoder_decoder": true})", "'is_encoder_decoder'"},
  };
  for (const auto& [change, error] : table) {
    json config = TinyGemma2Config();
    config.update(json::parse(change));
    const std::string path = folder_.Write("bad/config.json", config.dump());
    const auto loaded = Gemma2Config::Load(path);
    ASSERT_FALSE(loaded.ok()) << change;
    EXPECT_THAT(std::string(loaded.status().message()), AllOf(HasSubstr(path), HasSubstr(error))) << change;
  }
}

TEST_F(Gemma2Test, RefusesWeightsByName) {
  const json config = TinyGemma2Config();
  const auto whole = TinyGemma2Weights(config, "");
  auto missing = whole;
  missing.erase("layers.1.mlp.up_proj.weight");
  EXPECT_THAT(LoadError(WriteTinyGemma2(folder_, "missing", config, missing)),
              AllOf(HasSubstr("missing/model.safetensors"), HasSubstr("'layers.1.mlp.up_proj.weight' is missing")));
  auto more = whole;
  more["layers.2.norm.weight"] = {{1}, {0.f}};
  EXPECT_THAT(LoadError(WriteTinyGemma2(folder_, "more", config, more)),
              AllOf(HasSubstr("more/model.safetensors"), HasSubstr("'layers.2.norm.weight' is superfluous")));
  auto wrong = whole;
  wrong["layers.0.self_attn.k_proj.weight"].shape = {6, 24};
  EXPECT_THAT(LoadError(WriteTinyGemma2(folder_, "wrong", config, wrong)),
              AllOf(HasSubstr("'layers.0.self_attn.k_proj.weight' has the shape [6,24]"), HasSubstr("[12,12]")));
  auto head = whole;  // a projection to logits belongs to a causal language model's names
  head["lm_head.weight"] = head["embed_tokens.weight"];
  EXPECT_THAT(LoadError(WriteTinyGemma2(folder_, "head", config, head)), HasSubstr("'lm_head.weight' is superfluous"));
  folder_.Write("empty/config.json", config.dump());
  EXPECT_THAT(LoadError(folder_.path() + "/empty"), HasSubstr("empty/model.safetensors"));
  EXPECT_THAT(LoadError(folder_.path() + "/nowhere"), HasSubstr("nowhere/config.json"));
}

TEST_F(Gemma2Test, RefusesBadBatches) {
  auto model = Gemma2::Load(*ops_, Write(TinyGemma2Config()), nullptr);
  ASSERT_TRUE(model.ok()) << model.status();
  const auto scratch = ops_->device().Allocate((*model)->ScratchBytes(4));
  const auto out = ops_->device().Allocate(4 * 12 * sizeof(float));
  const auto run = [&](const std::vector<int32_t>& ids, int64_t length) {
    const TextSequence sequence{.ids = ids, .length = length};
    const Mat rows = MakeMat(out->data(), DType::kF32, static_cast<int64_t>(ids.size()), 12);
    return (*model)->Forward({&sequence, 1}, scratch->data(), rows);
  };
  EXPECT_TRUE(run({2, 5, 329}, 3).ok());
  EXPECT_THAT(std::string(run({2, 330}, 2).message()), HasSubstr("token 330"));
  EXPECT_THAT(std::string(run({2, -1}, 2).message()), HasSubstr("token -1"));
  EXPECT_FALSE(run({2, 5}, 3).ok());
  EXPECT_FALSE(run({2, 5}, 0).ok());
}

}  // namespace
}  // namespace longtake
