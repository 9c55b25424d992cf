// The LTX-2 VAE's config.json: the published architectures' geometry, and what is refused, by name.
#include <string>
#include <vector>

#include "engine/models/ltx2/config.h"
#include "engine/models/video/load.h"
#include "engine/reference/reference_ops.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/ltx2_folder.h"

namespace longtake {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

json Ltx20() {
  return {{"_class_name", "AutoencoderKLLTX2Video"}, {"decoder_causal", false}};  // the class's defaults are 2.0's
}

json Ltx23() {
  json config = Ltx20();
  config["block_out_channels"] = {256, 512, 1024, 1024};
  config["layers_per_block"] = {4, 6, 4, 2, 2};
  config["decoder_block_out_channels"] = {256, 512, 512, 1024};
  config["decoder_layers_per_block"] = {4, 6, 4, 2, 2};
  config["upsample_type"] = {"spatiotemporal", "spatiotemporal", "temporal", "spatial"};
  config["upsample_residual"] = {false, false, false, false};
  config["upsample_factor"] = {2, 2, 1, 2};
  config["decoder_spatial_padding_mode"] = "zeros";
  return config;
}

Ltx2Config Read(json config) {
  auto read = ReadLtx2Config(JsonConfig("config.json", std::move(config)));
  EXPECT_TRUE(read.ok()) << read.status();
  return *read;
}

// The first video frame of LTX-2 comes with the 23rd latent frame, of LTX-2.3 with the 15th: the convolutions' delays
// add up to 21.6 and 13.5 latent frames, and what each doubling drops to less than one.
TEST(Ltx2Config, OfPublishedArchitectures) {
  for (const auto& [config, delay, first] : {std::tuple{Ltx20(), 173, 23}, std::tuple{Ltx23(), 108, 15}}) {
    const Ltx2Config read = Read(config);
    const LatentGeometry geometry = read.geometry();
    EXPECT_EQ(geometry.channels, 128);
    EXPECT_EQ(geometry.stride_h, 32);
    EXPECT_EQ(geometry.stride_w, 32);
    EXPECT_EQ(geometry.Frames(11), 81);
    EXPECT_EQ(geometry.delay_frames, delay);
    EXPECT_EQ(geometry.Emitted(first - 1), 0);
    EXPECT_GT(geometry.Emitted(first), 0);
    EXPECT_EQ(read.pixel_channels(), 48);
    EXPECT_EQ(read.encoder.spatial_factor(), 8);
    EXPECT_EQ(read.encoder.temporal_factor(), 8);
  }
  const Ltx2Config old = Read(Ltx20()), current = Read(Ltx23());
  EXPECT_THAT(old.encoder.widths, ElementsAre(128, 256, 512, 1024, 2048));
  EXPECT_THAT(old.decoder.widths, ElementsAre(1024, 512, 256, 128));
  EXPECT_THAT(old.decoder.blocks, ElementsAre(5, 5, 5, 5));
  EXPECT_EQ(old.decoder.border, Border::kReflect);
  EXPECT_THAT(current.decoder.widths, ElementsAre(1024, 512, 512, 256, 128));
  EXPECT_THAT(current.decoder.blocks, ElementsAre(2, 2, 4, 6, 4));
  EXPECT_EQ(current.decoder.steps[2].factor.volume(), 2);
  EXPECT_EQ(current.decoder.steps[2].conv_outputs, 512);
  EXPECT_EQ(current.decoder.border, Border::kZeros);
}

TEST(Ltx2Config, CausalClassReadsItsUpsamplingFromTheBack) {
  json config = Ltx23();
  config["_class_name"] = "AutoencoderKLCausalLTX2Video";
  config["decoder_causal"] = true;
  config.erase("upsample_type");
  config["decoder_upsample_type"] = {"spatial", "temporal", "spatiotemporal", "spatiotemporal"};
  const Ltx2Config read = Read(config);
  EXPECT_EQ(read.decoder.steps[0].factor.volume(), 8);
  EXPECT_EQ(read.decoder.steps[3].factor.t, 1);
  EXPECT_EQ(read.decoder.steps[3].factor.h, 2);
  EXPECT_EQ(read.geometry().delay_frames, 0);
  // Absent it is spatiotemporal, and so is `decoder_causal` true.
  EXPECT_TRUE(Read({{"_class_name", "AutoencoderKLCausalLTX2Video"}}).causal_decoder);
}

struct Refusal {
  std::string field;
  json value;
};

TEST(Ltx2Config, RefusesFieldsByName) {
  const std::vector<Refusal> refusals = {
      {"_class_name", "AutoencoderKLLTXVideo"},
      {"decoder_causal", true},
      {"decoder_causal", nullptr},  // the class's default is true
      {"encoder_causal", false},
      {"timestep_conditioning", true},
      {"decoder_inject_noise", {true, false, false, false}},
      {"decoder_inject_noise", {false}},
      {"scaling_factor", 0.5},
      {"in_channels", 4},
      {"out_channels", 1},
      {"latent_channels", 0},
      {"patch_size", 0},
      {"patch_size_t", 2},
      {"block_out_channels", {256, 512, 1024, 1020}},
      {"block_out_channels", json::array()},
      {"block_out_channels", {256, 512, 1024, -1}},
      {"block_out_channels", std::vector<int>(9, 256)},
      {"layers_per_block", {4, 6, 6, 2}},
      {"layers_per_block", {4, 6, 6, 2, 0}},
      {"layers_per_block", {4, 6, 6, 2, 1000}},
      {"down_block_types", {"LTXVideoDownBlock3D"}},
      {"spatio_temporal_scaling", {true, true, true, false}},
      {"decoder_spatio_temporal_scaling", {true, true, false}},
      {"downsample_type", {"spatial", "temporal", "conv", "spatiotemporal"}},
      {"upsample_type", {"spatiotemporal", "spatiotemporal", "spatial"}},
      {"upsample_type", {"spatiotemporal"}},
      {"upsample_factor", {2, 2, 1}},
      {"upsample_factor", {2, 2, 3}},
      {"upsample_factor", {2, 2}},
      {"upsample_residual", {true, true}},
      {"decoder_block_out_channels", {256, 512, 1000}},  // a residual block that changes the width
      {"decoder_block_out_channels", {128, 512, 1024}},
      {"decoder_layers_per_block", {5, 5, 5}},
      {"encoder_spatial_padding_mode", "replicate"},
      {"decoder_spatial_padding_mode", "circular"},
      {"spatial_compression_ratio", 16},
      {"temporal_compression_ratio", 4},
      {"shift_factor", 0.1},
  };
  for (const Refusal& r : refusals) {
    json config = Ltx20();
    config[r.field] = r.value;
    const auto read = ReadLtx2Config(JsonConfig("vae/config.json", config));
    ASSERT_FALSE(read.ok()) << r.field << " " << r.value;
    EXPECT_THAT(std::string(read.status().message()), HasSubstr("vae/config.json")) << r.value;
    EXPECT_THAT(std::string(read.status().message()), HasSubstr(r.field)) << r.value;
  }
}

TEST(Ltx2Config, CausalClassIsNeverRunLookingAhead) {
  const json config = {{"_class_name", "AutoencoderKLCausalLTX2Video"}, {"decoder_causal", false}};
  EXPECT_THAT(std::string(ReadLtx2Config(JsonConfig("config.json", config)).status().message()),
              HasSubstr("decoder_causal"));
}

TEST(Ltx2Folder, LoadsOnlyWhatIsWanted) {
  const Ltx2Folder folder(Ltx2Kind::kLtx2);
  const auto ops = MakeReferenceOps();
  const auto vae = LoadVideoVae(folder.Write(), {.decoder = true}, ops.get());
  ASSERT_TRUE(vae.ok()) << vae.status();
  EXPECT_NE(vae->decoder, nullptr);
  EXPECT_EQ(vae->encoder, nullptr);
}

TEST(Ltx2Folder, NamesTheTensorAtFault) {
  const auto ops = MakeReferenceOps();
  for (const std::string name :
       {"latents_mean", "decoder.mid_block.resnets.0.conv1.conv.weight",
        "decoder.up_blocks.1.upsamplers.0.conv.conv.bias", "encoder.down_blocks.2.downsamplers.0.conv.conv.weight",
        "encoder.conv_out.conv.bias"}) {
    for (const bool decoder : {true, false}) {
      const VaeParts parts{.decoder = decoder, .encoder = !decoder};
      const auto message = [&](const Ltx2Folder& folder) {
        return std::string(LoadVideoVae(folder.Write(), parts, ops.get()).status().message());
      };
      Ltx2Folder missing(Ltx2Kind::kLtx2), wrong(Ltx2Kind::kLtx2), superfluous(Ltx2Kind::kLtx2);
      missing.tensors.erase(name);
      EXPECT_THAT(message(missing), HasSubstr(name));
      ++wrong.tensors[name][0];
      EXPECT_THAT(message(wrong), HasSubstr(name));
      superfluous.tensors[name + "_2"] = {1};
      EXPECT_THAT(message(superfluous), HasSubstr(name + "_2"));
    }
  }
}

}  // namespace
}  // namespace longtake
