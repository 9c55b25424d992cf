// A small Wan VAE folder with random weights, whose config and tensors a test may change before it is written.
#ifndef LONGTAKE_TESTS_ENGINE_WAN_FOLDER_H_
#define LONGTAKE_TESTS_ENGINE_WAN_FOLDER_H_

#include <cmath>
#include <cstdint>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "engine/core/safetensors.h"
#include "nlohmann/json.hpp"
#include "tests/engine/temp_folder.h"

namespace longtake {

struct WanFolder {
  nlohmann::json config;
  std::map<std::string, std::vector<int64_t>> tensors;
  TempFolder folder;

  // z_dim 4, base width 4 and 6 in the decoder, stages of 1, 2, 2 widths, time doubled between all.
  explicit WanFolder(int patch = 1) {
    const int64_t pixels = int64_t{3} * patch * patch;
    config = {{"_class_name", "AutoencoderKLWan"},
              {"_diffusers_version", "0.36.0"},
              {"attn_scales", nlohmann::json::array()},
              {"base_dim", 4},
              {"decoder_base_dim", 6},
              {"dim_mult", {1, 2, 2}},
              {"dropout", 0.0},
              {"in_channels", pixels},
              {"out_channels", pixels},
              {"is_residual", false},
              {"latents_mean", {0.5, -0.25, 0.0, 1.0}},
              {"latents_std", {1.5, 0.5, 1.0, 2.0}},
              {"num_res_blocks", 1},
              {"patch_size", patch},
              {"scale_factor_spatial", 4 * patch},
              {"scale_factor_temporal", 4},
              {"temperal_downsample", {true, true}},
              {"z_dim", 4}};

    Conv("post_quant_conv", 4, 4, {1, 1, 1});
    Conv("decoder.conv_in", 12, 4, {3, 3, 3});
    Middle("decoder.mid_block", 12);
    Residual("decoder.up_blocks.0.resnets.0", 12, 12);
    Residual("decoder.up_blocks.0.resnets.1", 12, 12);
    Residual("decoder.up_blocks.1.resnets.0", 6, 12);
    Residual("decoder.up_blocks.1.resnets.1", 12, 12);
    for (const std::string up : {"decoder.up_blocks.0.upsamplers.0", "decoder.up_blocks.1.upsamplers.0"}) {
      Conv(up + ".resample.1", 6, 12, {3, 3});
      Conv(up + ".time_conv", 24, 12, {3, 1, 1});
    }
    Residual("decoder.up_blocks.2.resnets.0", 6, 6);
    Residual("decoder.up_blocks.2.resnets.1", 6, 6);
    tensors["decoder.norm_out.gamma"] = {6, 1, 1, 1};
    Conv("decoder.conv_out", pixels, 6, {3, 3, 3});

    Conv("encoder.conv_in", 4, pixels, {3, 3, 3});
    Residual("encoder.down_blocks.0", 4, 4);
    Conv("encoder.down_blocks.1.resample.1", 4, 4, {3, 3});
    Conv("encoder.down_blocks.1.time_conv", 4, 4, {3, 1, 1});
    Residual("encoder.down_blocks.2", 4, 8);
    Conv("encoder.down_blocks.3.resample.1", 8, 8, {3, 3});
    Conv("encoder.down_blocks.3.time_conv", 8, 8, {3, 1, 1});
    Residual("encoder.down_blocks.4", 8, 8);
    Middle("encoder.mid_block", 8);
    tensors["encoder.norm_out.gamma"] = {8, 1, 1, 1};
    Conv("encoder.conv_out", 8, 8, {3, 3, 3});
    Conv("quant_conv", 8, 8, {1, 1, 1});
  }

  // Writes it and returns its path.
  const std::string& Write() const {
    std::mt19937 random(5);
    std::map<std::string, std::vector<float>> values;
    std::map<std::string, HostTensor> file;
    for (const auto& [name, shape] : tensors) {
      int64_t count = 1;
      for (int64_t d : shape) count *= d;
      std::vector<float>& v = values[name];
      const bool gamma = name.ends_with(".gamma");
      // As wide as keeps the frames' size through the layers: 1 / sqrt(inputs).
      std::normal_distribution<float> normal(
          gamma ? 1.f : 0.f, gamma ? 0.2f : std::sqrt(static_cast<float>(shape[0]) / static_cast<float>(count)));
      for (int64_t i = 0; i < count; ++i) v.push_back(normal(random));
      file[name] = {v.data(), DType::kF32, shape};
    }
    folder.Write("config.json", config.dump());
    if (!WriteSafetensors(folder.path() + "/diffusion_pytorch_model.safetensors", file).ok()) std::abort();
    return folder.path();
  }

 private:
  void Conv(const std::string& name, int64_t outputs, int64_t inputs, const std::vector<int64_t>& taps) {
    std::vector<int64_t>& shape = tensors[name + ".weight"] = {outputs, inputs};
    shape.insert(shape.end(), taps.begin(), taps.end());
    tensors[name + ".bias"] = {outputs};
  }
  void Residual(const std::string& name, int64_t inputs, int64_t outputs) {
    tensors[name + ".norm1.gamma"] = {inputs, 1, 1, 1};
    Conv(name + ".conv1", outputs, inputs, {3, 3, 3});
    tensors[name + ".norm2.gamma"] = {outputs, 1, 1, 1};
    Conv(name + ".conv2", outputs, outputs, {3, 3, 3});
    if (inputs != outputs) Conv(name + ".conv_shortcut", outputs, inputs, {1, 1, 1});
  }
  void Middle(const std::string& name, int64_t width) {
    Residual(name + ".resnets.0", width, width);
    Residual(name + ".resnets.1", width, width);
    tensors[name + ".attentions.0.norm.gamma"] = {width, 1, 1};
    Conv(name + ".attentions.0.to_qkv", 3 * width, width, {1, 1});
    Conv(name + ".attentions.0.proj", width, width, {1, 1});
  }
};

}  // namespace longtake

#endif  // LONGTAKE_TESTS_ENGINE_WAN_FOLDER_H_
