// A small LTX-2 VAE folder with random weights, whose config and tensors a test may change before it is written.
#ifndef LONGTAKE_TESTS_ENGINE_LTX2_FOLDER_H_
#define LONGTAKE_TESTS_ENGINE_LTX2_FOLDER_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/core/safetensors.h"
#include "nlohmann/json.hpp"
#include "tests/engine/temp_folder.h"

namespace longtake {

// The steps of both published architectures, and of the causal class, with 2.0's.
enum class Ltx2Kind { kLtx2, kLtx23, kCausal };

struct Ltx2Folder {
  nlohmann::json config;
  std::map<std::string, std::vector<int64_t>> tensors;
  TempFolder folder;

  // `width`: the decoder's, 8 times its last stage's in LTX-2 and 8 times in LTX-2.3; `blocks` in each stage.
  explicit Ltx2Folder(Ltx2Kind kind, int patch = 1, int64_t width = 32, int blocks = 1, int64_t z = 4) {
    const bool is_23 = kind == Ltx2Kind::kLtx23, causal = kind == Ltx2Kind::kCausal;
    const std::vector<int64_t> encoder = {2 * z, 4 * z, 8 * z, is_23 ? 8 * z : 16 * z};
    std::vector<int64_t> decoder = {width, width / 2, width / 4}, factors = {2, 2, 2};
    std::vector<std::string> types(3, "spatiotemporal");
    if (is_23) {
      decoder = {width, width / 2, width / 2, width / 4};
      factors = {2, 1, 2, 2};
      types = {"spatiotemporal", "spatiotemporal", "temporal", "spatial"};
    }
    const size_t steps = types.size();
    const std::vector<std::string> down = {"spatial", "temporal", "spatiotemporal", "spatiotemporal"};
    config = {{"_class_name", causal ? "AutoencoderKLCausalLTX2Video" : "AutoencoderKLLTX2Video"},
              {"_diffusers_version", "0.42.1"},
              {"in_channels", 3},
              {"out_channels", 3},
              {"latent_channels", z},
              {"block_out_channels", encoder},
              {"decoder_block_out_channels", std::vector<int64_t>(decoder.rbegin(), decoder.rend())},
              {"down_block_types", std::vector<std::string>(4, "LTX2VideoDownBlock3D")},
              {"layers_per_block", std::vector<int>(5, blocks)},
              {"decoder_layers_per_block", std::vector<int>(steps + 1, blocks)},
              {"spatio_temporal_scaling", std::vector<bool>(4, true)},
              {"decoder_spatio_temporal_scaling", std::vector<bool>(steps, true)},
              {"decoder_inject_noise", std::vector<bool>(steps + 1, false)},
              {"downsample_type", down},
              {"upsample_residual", std::vector<bool>(steps, !is_23)},
              {"upsample_factor", std::vector<int64_t>(factors.rbegin(), factors.rend())},
              {"timestep_conditioning", false},
              {"patch_size", patch},
              {"patch_size_t", 1},
              {"resnet_norm_eps", 1e-6},
              {"scaling_factor", 1.0},
              {"encoder_causal", true},
              {"decoder_causal", causal},
              {"encoder_spatial_padding_mode", "zeros"},
              {"decoder_spatial_padding_mode", is_23 ? "zeros" : "reflect"},
              {"spatial_compression_ratio", 8 * patch},
              {"temporal_compression_ratio", 8}};
    if (!causal) config["upsample_type"] = types;

    const int64_t pixels = int64_t{3} * patch * patch;
    tensors["latents_mean"] = tensors["latents_std"] = {z};
    Conv("encoder.conv_in", pixels, z);
    int64_t at = z;
    for (size_t i = 0; i < down.size(); ++i) {
      const std::string name = absl::StrCat("encoder.down_blocks.", i);
      Blocks(name, at, blocks);
      Conv(name + ".downsamplers.0.conv", at, encoder[i] / Volume(down[i]));
      at = encoder[i];
    }
    Blocks("encoder.mid_block", at, blocks);
    Conv("encoder.conv_out", at, z + 1);

    Conv("decoder.conv_in", z, width);
    Blocks("decoder.mid_block", width, blocks);
    at = width;
    for (size_t i = 0; i < steps; ++i) {
      const std::string name = absl::StrCat("decoder.up_blocks.", i);
      Conv(name + ".upsamplers.0.conv", at, at * Volume(types[i]) / factors[i]);
      at /= factors[i];
      Blocks(name, at, blocks);
    }
    Conv("decoder.conv_out", at, pixels);
  }

  // Writes it into `to`, or into its own folder, and returns the path.
  std::string Write(const std::string& to = "") const {
    std::mt19937 random(5);
    std::map<std::string, std::vector<float>> values;
    std::map<std::string, HostTensor> file;
    for (const auto& [name, shape] : tensors) {
      int64_t count = 1;
      for (const int64_t d : shape) count *= d;
      std::vector<float>& v = values[name];
      // As wide as keeps the frames' size through the layers: 1 / sqrt(inputs).
      std::normal_distribution<float> normal(
          0.f, shape.size() == 1 ? 0.1f : std::sqrt(static_cast<float>(shape[0]) / static_cast<float>(count)));
      for (int64_t i = 0; i < count; ++i) v.push_back(normal(random) + (name == "latents_std" ? 1.f : 0.f));
      file[name] = {v.data(), DType::kF32, shape};
    }
    const std::string path = to.empty() ? folder.path() : to;
    std::ofstream(path + "/config.json") << config.dump();
    if (!WriteSafetensors(path + "/diffusion_pytorch_model.safetensors", file).ok()) std::abort();
    return path;
  }

 private:
  static int64_t Volume(const std::string& type) { return type == "spatial" ? 4 : type == "temporal" ? 2 : 8; }
  void Conv(const std::string& name, int64_t inputs, int64_t outputs) {
    tensors[name + ".conv.weight"] = {outputs, inputs, 3, 3, 3};
    tensors[name + ".conv.bias"] = {outputs};
  }
  void Blocks(const std::string& name, int64_t width, int count) {
    for (int j = 0; j < count; ++j) {
      for (const char* conv : {".conv1", ".conv2"}) Conv(absl::StrCat(name, ".resnets.", j, conv), width, width);
    }
  }
};

}  // namespace longtake

#endif  // LONGTAKE_TESTS_ENGINE_LTX2_FOLDER_H_
