#include "engine/models/gemma2/config.h"

#include <algorithm>
#include <cmath>

#include "common/status_macros.h"
#include "engine/core/json_config.h"
#include "engine/models/folder/quantized_weights.h"

namespace longtake {
namespace {

// Rotary positions: transformers 4 writes `rope_theta` and `rope_scaling`, transformers 5 `rope_parameters` with both.
double RopeTheta(JsonConfig& json) {
  double theta = json.Number("rope_theta", 10000.0);
  for (const char* field : {"rope_scaling", "rope_parameters"}) {
    const nlohmann::json* raw = json.Raw(field);
    if (raw == nullptr || raw->is_null()) continue;
    if (!raw->is_object()) {
      json.Fail(field, "must be an object");
      continue;
    }
    JsonConfig rope(json.path(), *raw);
    rope.MustBe("rope_type", "default");
    rope.MustBe("type", "default");
    rope.MustBe("partial_rotary_factor", 1.0);
    theta = rope.Number("rope_theta", theta);
    if (const absl::Status status = rope.Finish(); !status.ok()) {
      json.Fail(field, "is not supported: " + std::string(status.message()));
    }
  }
  if (!(theta > 0)) json.Fail("rope_theta", "must be positive");
  return theta;
}

// Returns the window of each layer. Without `layer_types`, every other layer has one, beginning with the first.
std::vector<int64_t> Windows(JsonConfig& json, int layers) {
  const int64_t window = json.Int("sliding_window", 1, int64_t{1} << 40, 4096);
  const nlohmann::json* raw_window = json.Raw("sliding_window");
  const bool null_window = raw_window != nullptr && raw_window->is_null();
  std::vector<int64_t> windows(layers, 0);
  if (json.Has("layer_types")) {
    const std::vector<std::string> types = json.Strings("layer_types", {});
    if (types.size() != windows.size()) json.Fail("layer_types", "must have one entry for each layer");
    for (size_t i = 0; i < std::min(types.size(), windows.size()); ++i) {
      if (types[i] == "sliding_attention") {
        windows[i] = window;
      } else if (types[i] != "full_attention") {
        json.Fail("layer_types", "entries must be \"sliding_attention\" or \"full_attention\"");
      }
    }
  } else {
    for (int i = 0; i < layers; i += 2) windows[i] = window;
  }
  const bool any = std::any_of(windows.begin(), windows.end(), [](int64_t w) { return w > 0; });
  if (null_window && any) json.Fail("sliding_window", "is null, but there are layers with a sliding window");
  return windows;
}

void IgnoreFieldsWithoutEffect(JsonConfig& json) {
  // These fields concern the logits, which are not computed here, training, caches and generation.
  json.Ignore({"_name_or_path",
               "transformers_version",
               "torch_dtype",
               "dtype",
               "use_cache",
               "cache_implementation",
               "initializer_range",
               "attention_dropout",
               "final_logit_softcapping",
               "tie_word_embeddings",
               "max_position_embeddings",
               "bos_token_id",
               "eos_token_id",
               "hidden_act",
               "sliding_window_size",
               "attn_implementation",
               "_attn_implementation",
               "_attn_implementation_autoset",
               "return_dict",
               "output_hidden_states",
               "output_attentions",
               "chunk_size_feed_forward",
               "is_decoder",
               "id2label",
               "label2id",
               "problem_type",
               "pruned_heads",
               "torchscript",
               "use_bfloat16",
               "tie_encoder_decoder",
               "gradient_checkpointing",
               "tokenizer_class",
               "finetuning_task",
               "task_specific_params"});
  json.MustBe("model_type", "gemma2");
  json.MustBe("use_bidirectional_attention", false);
  json.MustBe("add_cross_attention", false);
  json.MustBe("is_encoder_decoder", false);
  for (const std::string& name : json.Strings("architectures", {})) {
    if (name != "Gemma2Model" && name != "Gemma2ForCausalLM") json.Fail("architectures", "must name a Gemma-2");
  }
}

}  // namespace

absl::StatusOr<Gemma2Config> Gemma2Config::Load(const std::string& path) {
  ASSIGN_OR_RETURN(JsonConfig json, JsonConfig::Load(path));
  Gemma2Config c;
  // Absent fields have the class's defaults (configuration_gemma2.py).
  c.vocabulary = json.Int("vocab_size", 1, 1 << 24, 256000);
  c.width = json.Int("hidden_size", 1, 1 << 16, 2304);
  c.ffn_width = json.Int("intermediate_size", 1, 1 << 18, 9216);
  c.layers = static_cast<int>(json.Int("num_hidden_layers", 1, 1024, 26));
  c.heads = static_cast<int>(json.Int("num_attention_heads", 1, 1024, 8));
  c.kv_heads = static_cast<int>(json.Int("num_key_value_heads", 1, 1024, 4));
  c.head_dim = static_cast<int>(json.Int("head_dim", 2, 4096, 256));
  c.norm_eps = static_cast<float>(json.Number("rms_norm_eps", 1e-6));
  c.attention_bias = json.Bool("attention_bias", false);
  c.rope_theta = static_cast<float>(RopeTheta(json));
  c.windows = Windows(json, c.layers);
  c.pad_id = static_cast<int32_t>(json.Int("pad_token_id", -1, (1 << 24) - 1, 0));
  if (c.heads % c.kv_heads != 0) json.Fail("num_key_value_heads", "must divide num_attention_heads");
  if (c.head_dim % 2 != 0) json.Fail("head_dim", "must be even: rotary positions turn pairs");
  if (!(c.norm_eps >= 0)) json.Fail("rms_norm_eps", "must not be negative");

  const double scalar = json.Number("query_pre_attn_scalar", 256);
  if (!(scalar > 0)) json.Fail("query_pre_attn_scalar", "must be positive");
  c.attention_scale = static_cast<float>(1.0 / std::sqrt(scalar));
  // If absent, the class's default applies; null means no cap.
  const nlohmann::json* cap = json.Raw("attn_logit_softcapping");
  if (cap == nullptr || !cap->is_null()) {
    c.soft_cap = static_cast<float>(json.Number("attn_logit_softcapping", 50.0));
    if (!(c.soft_cap > 0)) json.Fail("attn_logit_softcapping", "must be positive or null");
  }
  const std::string activation = json.String("hidden_activation", "gelu_pytorch_tanh");
  if (activation == "silu" || activation == "swish") {
    c.activation = Activation::kSilu;
  } else if (activation != "gelu_pytorch_tanh" && activation != "gelu_new") {
    json.Fail("hidden_activation", "must be \"gelu_pytorch_tanh\" or \"silu\"");
  }
  CheckQuantizationConfig(json);
  IgnoreFieldsWithoutEffect(json);
  RETURN_IF_ERROR(json.Finish());
  return c;
}

}  // namespace longtake
