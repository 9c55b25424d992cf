// text_encoder/config.json of Gemma-2 (transformers: Gemma2Config), as transformers 4 and 5 write it.
#ifndef LONGTAKE_ENGINE_MODELS_GEMMA2_CONFIG_H_
#define LONGTAKE_ENGINE_MODELS_GEMMA2_CONFIG_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/ops/ops.h"

namespace longtake {

struct Gemma2Config {
  int64_t vocabulary = 0;
  int64_t width = 0;
  int64_t ffn_width = 0;
  int layers = 0;
  int heads = 0, kv_heads = 0, head_dim = 0;
  Activation activation = Activation::kGeluTanh;
  float norm_eps = 1e-6f;
  float rope_theta = 10000.f;
  float attention_scale = 0.f;  // query_pre_attn_scalar^-0.5
  float soft_cap = 0.f;         // of attention scores; 0: none
  bool attention_bias = false;
  std::vector<int64_t> windows;  // window of each layer, in tokens; 0: all tokens before
  int32_t pad_id = 0;

  int64_t q_width() const { return int64_t{heads} * head_dim; }
  int64_t kv_width() const { return int64_t{kv_heads} * head_dim; }

  // Errors name the file and the field.
  static absl::StatusOr<Gemma2Config> Load(const std::string& path);
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_GEMMA2_CONFIG_H_
