// A random Gemma-2 folder of a few kilobytes.
#ifndef LONGTAKE_TESTS_ENGINE_TINY_GEMMA2_H_
#define LONGTAKE_TESTS_ENGINE_TINY_GEMMA2_H_

#include <cstdint>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "engine/core/safetensors.h"
#include "nlohmann/json.hpp"
#include "tests/engine/temp_folder.h"

namespace longtake {

struct TinyTensor {
  std::vector<int64_t> shape;
  std::vector<float> values;
};

// The config as transformers 5 writes it.
inline nlohmann::json TinyGemma2Config() {
  return nlohmann::json::parse(R"({
    "architectures": ["Gemma2Model"], "attention_bias": false, "attention_dropout": 0.0,
    "attn_logit_softcapping": 2.0, "bos_token_id": 2, "dtype": "float32", "eos_token_id": 1,
    "final_logit_softcapping": 30.0, "head_dim": 6, "hidden_activation": "gelu_pytorch_tanh", "hidden_size": 12,
    "initializer_range": 0.02, "intermediate_size": 20, "layer_types": ["sliding_attention", "full_attention"],
    "max_position_embeddings": 64, "model_type": "gemma2", "num_attention_heads": 4, "num_hidden_layers": 2,
    "num_key_value_heads": 2, "pad_token_id": 0, "query_pre_attn_scalar": 6, "rms_norm_eps": 1e-06,
    "rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"}, "sliding_window": 3,
    "tie_word_embeddings": true, "transformers_version": "5.0.0", "use_bidirectional_attention": null,
    "use_cache": true, "vocab_size": 330})");
}

// Random tensors with the names and shapes that the config asks for.
inline std::map<std::string, TinyTensor> TinyGemma2Weights(const nlohmann::json& config, const std::string& prefix) {
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  std::map<std::string, TinyTensor> tensors;
  const auto add = [&](const std::string& name, std::vector<int64_t> shape, float deviation) {
    TinyTensor t{shape, {}};
    int64_t n = 1;
    for (const int64_t d : shape) n *= d;
    for (int64_t i = 0; i < n; ++i) t.values.push_back(deviation * normal(random));
    tensors[prefix + name] = std::move(t);
  };
  const int64_t width = config["hidden_size"], ffn = config["intermediate_size"], head = config["head_dim"];
  const int64_t q = config["num_attention_heads"].get<int64_t>() * head;
  const int64_t kv = config["num_key_value_heads"].get<int64_t>() * head;
  add("embed_tokens.weight", {config["vocab_size"], width}, 0.5f);
  for (int i = 0; i < config["num_hidden_layers"]; ++i) {
    const std::string at = "layers." + std::to_string(i) + ".";
    add(at + "self_attn.q_proj.weight", {q, width}, 0.7f);
    add(at + "self_attn.k_proj.weight", {kv, width}, 0.7f);
    add(at + "self_attn.v_proj.weight", {kv, width}, 0.7f);
    add(at + "self_attn.o_proj.weight", {width, q}, 0.7f);
    add(at + "mlp.gate_proj.weight", {ffn, width}, 0.4f);
    add(at + "mlp.up_proj.weight", {ffn, width}, 0.4f);
    add(at + "mlp.down_proj.weight", {width, ffn}, 0.4f);
    for (const char* norm : {"input", "post_attention", "pre_feedforward", "post_feedforward"}) {
      add(at + norm + "_layernorm.weight", {width}, 0.2f);
    }
  }
  add("norm.weight", {width}, 0.2f);
  return tensors;
}

inline absl::Status WriteTensors(const std::string& path, const std::map<std::string, TinyTensor>& tensors) {
  std::map<std::string, HostTensor> views;
  for (const auto& [name, t] : tensors) views[name] = {t.values.data(), DType::kF32, t.shape};
  return WriteSafetensors(path, views);
}

// config.json and model.safetensors under `name`.
inline std::string WriteTinyGemma2(const TempFolder& folder, const std::string& name, const nlohmann::json& config,
                                   const std::map<std::string, TinyTensor>& tensors) {
  folder.Write(name + "/config.json", config.dump());
  const std::string path = folder.path() + "/" + name;
  if (!WriteTensors(path + "/model.safetensors", tensors).ok()) return "";
  return path;
}

}  // namespace longtake

#endif  // LONGTAKE_TESTS_ENGINE_TINY_GEMMA2_H_
