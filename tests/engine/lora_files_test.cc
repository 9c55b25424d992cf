// Files of adapters: names and scales by the rules of peft and diffusers, and refusals that name file and tensor.
#include "tests/engine/lora_files.h"

#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "engine/models/lora/keys.h"
#include "engine/models/lora/load.h"
#include "engine/models/lora/scales.h"
#include "engine/reference/reference_ops.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/temp_folder.h"

namespace longtake {
namespace {

using ::testing::HasSubstr;

TEST(LoraKeys, ReadsWhatProgramsWrite) {
  const std::string layer = "transformer_blocks.0.attn1.to_q";
  const auto expect = [](const std::string& name, const std::string& layer, LoraPart part) {
    const absl::StatusOr<LoraKey> key = ParseLoraKey(name);
    ASSERT_TRUE(key.ok()) << name << ": " << key.status();
    EXPECT_EQ(key->layer, layer) << name;
    EXPECT_EQ(key->part, part) << name;
  };
  for (const char* prefix :
       {"", "transformer.", "base_model.model.", "diffusion_model.", "base_model.model.transformer."}) {
    expect(prefix + layer + ".lora_A.weight", layer, LoraPart::kA);
    expect(prefix + layer + ".lora_B.default.weight", layer, LoraPart::kB);
    expect(prefix + layer + ".lora.down.weight", layer, LoraPart::kA);
    expect(prefix + layer + ".lora_up.weight", layer, LoraPart::kB);
    expect(prefix + layer + ".alpha", layer, LoraPart::kAlpha);
  }
  expect("lora_unet_transformer_blocks_0_attn1_to_q.lora_down.weight", "transformer_blocks_0_attn1_to_q", LoraPart::kA);
}

TEST(LoraKeys, SaysWhatItRefuses) {
  const std::pair<const char*, const char*> refused[] = {
      {"transformer.proj_out.lora_magnitude_vector", "DoRA"},
      {"lora_unet_proj_out.dora_scale", "DoRA"},
      {"lora_unet_proj_out.lokr_w1", "LoKr"},
      {"lora_unet_proj_out.hada_w1_a", "LoHa"},
      {"lora_unet_proj_out.lora_mid.weight", "three parts"},
      {"transformer.proj_out.lora_B.bias", "bias"},
      {"text_encoder.layers.0.lora_A.weight", "text encoder"},
      {"lora_te_text_model.lora_down.weight", "text encoder"},
      {"transformer.proj_out.weight", "no part of a low-rank adapter"},
  };
  for (const auto& [name, why] : refused) {
    const absl::StatusOr<LoraKey> key = ParseLoraKey(name);
    ASSERT_FALSE(key.ok()) << name;
    EXPECT_THAT(std::string(key.status().message()), HasSubstr(why)) << name;
  }
}

float Scale(const std::string& config, const std::string& layer, int64_t rank, std::optional<double> alpha = {}) {
  const absl::StatusOr<LoraScales> scales = config.empty() ? LoraScales() : LoraScales::Parse("config", config, "");
  if (!scales.ok()) return NAN;
  return scales->ScaleOf(layer, rank, alpha).value_or(NAN);
}

TEST(LoraScales, FollowsPeft) {
  EXPECT_EQ(Scale("", "x", 4), 1.f);
  EXPECT_EQ(Scale("", "x", 4, 2), 0.5f);
  EXPECT_EQ(Scale(R"({"r":4,"lora_alpha":8})", "x", 4), 2.f);
  EXPECT_EQ(Scale(R"({"r":4,"lora_alpha":8,"use_rslora":true})", "x", 4), 4.f);
  EXPECT_EQ(Scale(R"({"r":4})", "x", 4), 2.f);  // peft's default of lora_alpha is 8
  const std::string patterns =
      R"({"r":4,"lora_alpha":4,"rank_pattern":{"to_q":2},"alpha_pattern":{"attn1.to_q":6,"to_q":3,"blocks\\.\\d+\\.y":5}})";
  EXPECT_EQ(Scale(patterns, "blocks.0.attn1.to_q", 2), 3.f);
  EXPECT_EQ(Scale(patterns, "blocks.0.attn2.to_q", 2), 1.5f);
  EXPECT_EQ(Scale(patterns, "blocks.0.into_q", 4), 1.f);  // a pattern matches whole words between dots
  EXPECT_EQ(Scale(patterns, "blocks.11.y", 4), 1.25f);
  // The first pattern of the file counts.
  EXPECT_EQ(Scale(R"({"r":1,"lora_alpha":1,"alpha_pattern":{"y":7,"x.y":2}})", "x.y", 1), 7.f);
  EXPECT_EQ(Scale(R"({"r":1,"lora_alpha":1,"alpha_pattern":{"x.y":2,"y":7}})", "x.y", 1), 2.f);
  EXPECT_TRUE(std::isnan(Scale(R"({"r":4,"lora_alpha":8})", "x", 3)));
  EXPECT_TRUE(std::isnan(Scale(R"({"r":4,"lora_alpha":8})", "x", 4, 4)));
  EXPECT_EQ(Scale(R"({"r":4,"lora_alpha":8})", "x", 4, 8), 2.f);
}

TEST(LoraScales, RefusesByField) {
  const std::pair<const char*, const char*> refused[] = {
      {R"([])", "no JSON object"},
      {R"({"lora_alpha":8})", "'r'"},
      {R"({"r":0})", "'r'"},
      {R"({"r":4,"use_dora":true})", "'use_dora'"},
      {R"({"r":4,"lora_bias":true})", "'lora_bias'"},
      {R"({"r":4,"bias":"all"})", "'bias'"},
      {R"({"r":4,"peft_type":"LOHA"})", "'peft_type'"},
      {R"({"r":4,"modules_to_save":["proj_out"]})", "'modules_to_save'"},
      {R"({"r":4,"init_lora_weights":"pissa"})", "'init_lora_weights'"},
      {R"({"r":4,"lora_alpha":0})", "'lora_alpha'"},
      {R"({"r":4,"rank_pattern":{"(":2}})", "'rank_pattern'"},
      {R"({"r":4,"alpha_pattern":{"x":"y"}})", "'alpha_pattern'"},
  };
  for (const auto& [config, field] : refused) {
    const absl::StatusOr<LoraScales> scales = LoraScales::Parse("config", config, "");
    ASSERT_FALSE(scales.ok()) << config;
    EXPECT_THAT(std::string(scales.status().message()), HasSubstr(field)) << config;
  }
  EXPECT_FALSE(LoraScales::Parse("config", R"({"text_encoder.r":4})", "transformer.").ok());
  EXPECT_TRUE(LoraScales::Parse("config", R"({"transformer.r":4})", "transformer.").ok());
}

// A transformer of three layers: two that are stacked, a convolution in time, and a depthwise one.
class LoraFilesTest : public ::testing::Test {
 protected:
  LoraFilesTest() : ops_(MakeReferenceOps()) {
    const std::vector<float> zeros(1000);
    const HostTensor qk = {zeros.data(), DType::kF32, {8, 4}}, time = {zeros.data(), DType::kF32, {4, 4, 3, 1}};
    stacked_ = ops_->weights().Pack({.outputs = 8, .inputs = 4}, {&qk, 1}, {});
    temporal_ = ops_->weights().Pack({.outputs = 4, .inputs = 4, .kt = 3}, {&time, 1}, {});
    layers_ = {{"b.0.to_q", stacked_.get(), 0, {4, 4}},
               {"b.0.to_k", stacked_.get(), 4, {4, 4}},
               {"b.0.temp", temporal_.get(), 0, {4, 4, 3, 1}},
               {"b.0.depth", nullptr, 0, {8, 1, 3, 3}}};
    AddPair(&tensors_, "b.0.to_k", 4, 4, 2, 5);
  }

  absl::StatusOr<std::shared_ptr<const Adapter>> Read(const std::map<std::string, std::string>& metadata = {}) {
    const std::string path = folder_.Write("x.safetensors", LoraFile(tensors_, metadata));
    return LoadAdapter(*ops_, {.name = "x", .weights = path, .config = ""}, layers_);
  }
  void Refused(const std::string& why, const std::map<std::string, std::string>& metadata = {}) {
    const auto adapter = Read(metadata);
    ASSERT_FALSE(adapter.ok()) << why;
    EXPECT_THAT(std::string(adapter.status().message()), HasSubstr("x.safetensors: "));
    EXPECT_THAT(std::string(adapter.status().message()), HasSubstr(why));
  }

  const TempFolder folder_;
  std::unique_ptr<Ops> ops_;
  std::unique_ptr<PackedKernel> stacked_, temporal_;
  std::vector<LoadedLayer> layers_;
  LoraTensors tensors_;
};

constexpr char kA[] = "transformer.b.0.to_k.lora_A.weight", kB[] = "transformer.b.0.to_k.lora_B.weight";

TEST_F(LoraFilesTest, PlacesPairsInStackedKernels) {
  const auto adapter = Read({{"lora_adapter_metadata", R"({"transformer.r":2,"transformer.lora_alpha":6})"}});
  ASSERT_TRUE(adapter.ok()) << adapter.status();
  const auto& pairs = (*adapter)->pairs.at(stacked_.get());
  ASSERT_EQ(pairs.size(), 1u);
  EXPECT_EQ(pairs[0]->scale, 3.f);
  EXPECT_EQ(pairs[0]->first_column, 4);
  EXPECT_EQ(pairs[0]->columns, 4);
  EXPECT_EQ(pairs[0]->rank(), 2);
  EXPECT_EQ((*adapter)->bytes, pairs[0]->a->bytes() + pairs[0]->b->bytes());
}

TEST_F(LoraFilesTest, TheDigestFollowsTheBytes) {
  const std::string first = (*Read())->digest;
  EXPECT_EQ(first, (*Read())->digest);
  tensors_[kA].values[0] += 1;
  EXPECT_NE(first, (*Read())->digest);
}

TEST_F(LoraFilesTest, RefusesTensorsByName) {
  const LoraTensors right = tensors_;
  const auto with = [&](const std::string& name, LoraTensor tensor) {
    tensors_ = right;
    tensors_[name] = std::move(tensor);
  };
  with("transformer.b.1.to_k.lora_A.weight", RandomTensor({2, 4}, 1));
  Refused("'transformer.b.1.to_k.lora_A.weight' is of a layer that the model does not have");
  with("transformer.b.0.depth.lora_A.weight", RandomTensor({2, 1, 3, 3}, 1));
  Refused("depthwise");
  with(kA, RandomTensor({2, 5}, 1));
  Refused("has the shape [2,5], but [2,4] is needed");
  with(kB, RandomTensor({4, 3}, 1));
  Refused("has the shape [4,3], but [4,2] is needed");
  with(kA, {{0, 4}, {}});
  Refused("has rank 0");
  with(kA, RandomTensor({1025, 4}, 1));
  Refused("has rank 1025");
  with("b.0.to_k.lora_A.weight", RandomTensor({2, 4}, 1));
  Refused("is given twice");
  with("transformer.b.0.temp.lora_A.weight", RandomTensor({2, 4, 3, 1}, 1));
  Refused("has no B");
  with("transformer.b.0.temp.lora_B.weight", RandomTensor({4, 2, 1, 1}, 1));
  Refused("has no A");
  with("transformer.b.0.to_k.alpha", {{}, {0}});
  Refused("is 0");
  with("transformer.b.0.to_k.alpha", {{2}, {1, 2}});
  Refused("is not one number");
  for (const float value : {NAN, std::numeric_limits<float>::infinity()}) {
    tensors_ = right;
    tensors_[kB].values[3] = value;
    Refused(std::string("'") + kB + "' has a value that is not finite");
  }
  // Matrices do for a convolution whose kernel has one position, and not for one of three.
  with("transformer.b.0.temp.lora_A.weight", RandomTensor({2, 4}, 1));
  tensors_["transformer.b.0.temp.lora_B.weight"] = RandomTensor({4, 2}, 1);
  Refused("[2,4,3,1] is needed");
  tensors_ = right;
  Refused("'transformer.b.0.to_k.lora_A.weight' has rank 2, and the configuration says 4",
          {{"lora_adapter_metadata", R"({"transformer.r":4})"}});
  tensors_.clear();
  Refused("has no tensors");
}

TEST(LoraFolder, ListsWhatProgramsWrite) {
  const TempFolder folder;
  folder.Write("plain.safetensors", "");
  folder.Write("by-peft/adapter_model.safetensors", "");
  folder.Write("by-peft/adapter_config.json", "{}");
  folder.Write("by_diffusers/pytorch_lora_weights.safetensors", "");
  folder.Write(".hidden", "");
  folder.Write("lost+found/x", "");
  const auto adapters = ListAdapters(folder.path());
  ASSERT_TRUE(adapters.ok()) << adapters.status();
  ASSERT_EQ(adapters->size(), 3u);
  EXPECT_EQ((*adapters)[0].name, "by-peft");
  EXPECT_EQ((*adapters)[0].config, folder.path() + "/by-peft/adapter_config.json");
  EXPECT_EQ((*adapters)[1].weights, folder.path() + "/by_diffusers/pytorch_lora_weights.safetensors");
  EXPECT_EQ((*adapters)[2].name, "plain");
  EXPECT_EQ((*adapters)[2].config, "");
}

TEST(LoraFolder, RefusesOtherThings) {
  const std::pair<const char*, const char*> refused[] = {
      {"style.bin", "neither a safetensors file nor a folder"},
      {"two words.safetensors", "an adapter's name"},
      {"-x.safetensors", "an adapter's name"},
      {"empty/readme", "either adapter_model.safetensors or"},
  };
  for (const auto& [file, why] : refused) {
    const TempFolder folder;
    folder.Write(file, "");
    const auto adapters = ListAdapters(folder.path());
    ASSERT_FALSE(adapters.ok()) << file;
    EXPECT_THAT(std::string(adapters.status().message()), HasSubstr(why)) << file;
  }
  const TempFolder twice;
  twice.Write("x.safetensors", "");
  twice.Write("x/adapter_model.safetensors", "");
  EXPECT_THAT(std::string(ListAdapters(twice.path()).status().message()), HasSubstr("twice"));
}

}  // namespace
}  // namespace longtake
