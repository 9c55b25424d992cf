// transformer/config.json of the SANA-Video family: SANA-Video and LongSANA (diffusers: SanaVideoTransformer3DModel),
// and SANA-Video 2.0, which diffusers does not have (docs/folders.md has its fields).
#ifndef LONGTAKE_ENGINE_MODELS_SANA_CONFIG_H_
#define LONGTAKE_ENGINE_MODELS_SANA_CONFIG_H_

#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"

namespace longtake {

// What SANA-Video 2.0 has beside.
struct HybridConfig {
  int softmax_head_dim = 0;
  int softmax_layers = 0;  // of all layers, evenly spread
  int residual_block = 0;  // layers whose sum is one source of the attention over depth

  bool IsSoftmax(int layer, int layers) const;
  // Sums of layers that the attention over depth reads, beside the embedded tokens.
  int Blocks(int layers) const { return (layers + residual_block - 1) / residual_block; }
};

struct SanaConfig {
  int in_channels = 0, out_channels = 0;
  std::array<int, 3> patch = {1, 2, 2};  // frames, rows, columns
  int layers = 0;
  int heads = 0, head_dim = 0;
  int cross_heads = 0, cross_head_dim = 0;
  int caption_channels = 0;
  int64_t ffn_width = 0;  // after the gate: int(mlp_ratio * width)
  bool attention_bias = false;
  bool qk_norm = true;
  float norm_eps = 1e-6f;
  float cross_norm_eps = 1e-5f;
  int rope_max_positions = 1024;
  std::optional<HybridConfig> hybrid;  // nothing: not SANA-Video 2.0

  int64_t width() const { return int64_t{heads} * head_dim; }
  int64_t cross_width() const { return int64_t{cross_heads} * cross_head_dim; }
  int64_t patch_elements() const { return int64_t{patch[0]} * patch[1] * patch[2]; }

  // Errors name the file and the field.
  static absl::StatusOr<SanaConfig> Load(const std::string& path);
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_SANA_CONFIG_H_
