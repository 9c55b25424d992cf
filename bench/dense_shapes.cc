#include "bench/dense_shapes.h"

#include <fstream>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "engine/models/ltx2/config.h"
#include "nlohmann/json.hpp"

namespace longtake {
namespace {

using Json = nlohmann::json;

absl::StatusOr<Json> ReadConfig(const std::string& file) {
  std::ifstream in(file);
  Json config = Json::parse(in, nullptr, /*allow_exceptions=*/false);
  if (!config.is_object()) return absl::InvalidArgumentError(absl::StrCat(file, ": is no JSON object"));
  return config;
}

absl::StatusOr<int64_t> Integer(const Json& config, const std::string& key) {
  const auto it = config.find(key);
  if (it == config.end() || !it->is_number_integer()) {
    return absl::InvalidArgumentError(absl::StrCat(key, ": is no whole number"));
  }
  return it->get<int64_t>();
}

}  // namespace

double Flops(const std::vector<DenseShape>& shapes) {
  double flops = 0;
  for (const DenseShape& s : shapes) flops += 2.0 * s.rows * s.inputs * s.outputs * s.count;
  return flops;
}

absl::StatusOr<std::vector<DenseShape>> TransformerShapes(const std::string& config_file, int64_t frames,
                                                          int64_t height, int64_t width) {
  ASSIGN_OR_RETURN(const Json config, ReadConfig(config_file));
  ASSIGN_OR_RETURN(const int64_t heads, Integer(config, "num_attention_heads"));
  ASSIGN_OR_RETURN(const int64_t head_dim, Integer(config, "attention_head_dim"));
  ASSIGN_OR_RETURN(const int64_t cross_heads, Integer(config, "num_cross_attention_heads"));
  ASSIGN_OR_RETURN(const int64_t cross_head_dim, Integer(config, "cross_attention_head_dim"));
  ASSIGN_OR_RETURN(const int64_t layers, Integer(config, "num_layers"));
  ASSIGN_OR_RETURN(const int64_t in_channels, Integer(config, "in_channels"));
  ASSIGN_OR_RETURN(const int64_t out_channels, Integer(config, "out_channels"));
  const auto patch = config.at("patch_size").get<std::vector<int64_t>>();
  const auto d = heads * head_dim;
  const auto cross = cross_heads * cross_head_dim;
  const auto hidden = static_cast<int64_t>(config.at("mlp_ratio").get<double>() * static_cast<double>(d));
  const int64_t volume = patch[0] * patch[1] * patch[2];
  const int64_t tokens = frames * height * width / volume;
  // Those of low precision as engine/models/sana/load.cc marks them.
  return std::vector<DenseShape>{
      {tokens, in_channels * volume, d},      // patch embedding
      {1, 256, d},                            // time
      {1, d, d},                              //
      {1, d, 6 * d},                          //
      {tokens, d, 3 * d, layers, true},       // q, k, v
      {tokens, d, d, layers, true},           // attention's output
      {tokens, d, cross, layers, true},       // cross-attention's q
      {tokens, cross, d, layers, true},       // and output
      {tokens, d, 2 * hidden, layers, true},  // feed-forward
      {tokens, hidden, d, layers, true},      //
      {tokens, 3 * d, d, layers},             // over time
      {tokens, d, out_channels * volume},     // velocity
  };
}

absl::StatusOr<std::vector<DenseShape>> DecoderShapes(const std::string& config_file, int64_t latents, int64_t height,
                                                      int64_t width) {
  ASSIGN_OR_RETURN(const Json config, ReadConfig(config_file));
  ASSIGN_OR_RETURN(const int64_t base, Integer(config, "base_dim"));
  ASSIGN_OR_RETURN(const int64_t z, Integer(config, "z_dim"));
  ASSIGN_OR_RETURN(const int64_t blocks, Integer(config, "num_res_blocks"));
  ASSIGN_OR_RETURN(const int64_t out_channels, Integer(config, "out_channels"));
  const auto mult = config.at("dim_mult").get<std::vector<int64_t>>();
  const auto down = config.at("temperal_downsample").get<std::vector<bool>>();

  std::vector<DenseShape> shapes;
  // Frames pass a stage one by one; a shape is counted once for each.
  const auto residual = [&](int64_t pixels, int64_t in, int64_t out, int64_t frames) {
    shapes.push_back({pixels, 27 * in, out, frames});
    shapes.push_back({pixels, 27 * out, out, frames});
    if (in != out) shapes.push_back({pixels, in, out, frames});
  };
  int64_t pixels = height * width, frames = latents, c = base * mult.back();
  shapes.push_back({pixels, z, z, frames});
  shapes.push_back({pixels, 27 * z, c, frames});
  residual(pixels, c, c, frames);
  shapes.push_back({pixels, c, 3 * c, frames});  // the middle's attention
  shapes.push_back({pixels, c, c, frames});
  residual(pixels, c, c, frames);
  const int stages = static_cast<int>(mult.size());
  for (int stage = 0; stage < stages; ++stage) {
    const int64_t out = base * mult[stages - 1 - stage];
    for (int64_t block = 0; block <= blocks; ++block) {
      residual(pixels, c, out, frames);
      c = out;
    }
    if (stage == stages - 1) break;
    if (down[stages - 2 - stage]) {
      // Frames that come from the first latent frame are not doubled: there is one of them at every stage.
      shapes.push_back({pixels, 3 * c, 2 * c, frames - 1});
      frames = 1 + 2 * (frames - 1);
    }
    pixels *= 4;
    shapes.push_back({pixels, 9 * c, c / 2, frames});
    c /= 2;
  }
  shapes.push_back({pixels, 27 * c, out_channels, frames});
  return shapes;
}

absl::StatusOr<std::vector<DenseShape>> Ltx2DecoderShapes(const std::string& config_file, int64_t latents,
                                                          int64_t height, int64_t width) {
  ASSIGN_OR_RETURN(JsonConfig file, JsonConfig::Load(config_file));
  ASSIGN_OR_RETURN(const Ltx2Config config, ReadLtx2Config(std::move(file)));
  const Ltx2Half& decoder = config.decoder;
  std::vector<DenseShape> shapes;
  int64_t pixels = height * width, frames = latents;
  shapes.push_back({pixels, 27 * config.latent_channels, decoder.widths[0], frames});
  for (int i = 0; i < decoder.stages(); ++i) {
    const int64_t c = decoder.widths[i];
    shapes.push_back({pixels, 27 * c, c, 2 * decoder.blocks[i] * frames});
    if (i + 1 == decoder.stages()) {
      shapes.push_back({pixels, 27 * c, config.pixel_channels(), frames});
      break;
    }
    const Ltx2Half::Step& step = decoder.steps[i];
    shapes.push_back({pixels, 27 * c, step.conv_outputs, frames});
    pixels *= int64_t{step.factor.h} * step.factor.w;
    frames = 1 + step.factor.t * (frames - 1);  // the first one is not doubled
  }
  return shapes;
}

absl::StatusOr<std::vector<DenseShape>> TextShapes(const std::string& config_file, int64_t tokens) {
  ASSIGN_OR_RETURN(const Json config, ReadConfig(config_file));
  ASSIGN_OR_RETURN(const int64_t width, Integer(config, "hidden_size"));
  ASSIGN_OR_RETURN(const int64_t ffn, Integer(config, "intermediate_size"));
  ASSIGN_OR_RETURN(const int64_t heads, Integer(config, "num_attention_heads"));
  ASSIGN_OR_RETURN(const int64_t kv_heads, Integer(config, "num_key_value_heads"));
  ASSIGN_OR_RETURN(const int64_t head_dim, Integer(config, "head_dim"));
  ASSIGN_OR_RETURN(const int64_t layers, Integer(config, "num_hidden_layers"));
  return std::vector<DenseShape>{
      {tokens, width, (heads + 2 * kv_heads) * head_dim, layers},
      {tokens, heads * head_dim, width, layers},
      {tokens, width, 2 * ffn, layers},
      {tokens, ffn, width, layers},
  };
}

}  // namespace longtake
