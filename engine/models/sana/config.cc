#include "engine/models/sana/config.h"

#include <string>
#include <vector>

#include "common/status_macros.h"
#include "engine/core/json_config.h"

namespace longtake {

absl::StatusOr<SanaConfig> SanaConfig::Load(const std::string& path) {
  ASSIGN_OR_RETURN(JsonConfig json, JsonConfig::Load(path));
  SanaConfig c;
  const std::string name = json.String("_class_name", "SanaVideoTransformer3DModel");
  if (name != "SanaVideoTransformer3DModel" && name != "SanaVideoCausalTransformer3DModel") {
    json.Fail("_class_name", "must be \"SanaVideoTransformer3DModel\" or \"SanaVideoCausalTransformer3DModel\"");
  }
  // Absent fields have the class's defaults (transformer_sana_video.py). diffusers writes every field, but other tools
  // omit some.
  c.in_channels = static_cast<int>(json.Int("in_channels", 1, 4096, 16));
  c.out_channels = static_cast<int>(json.Int("out_channels", 1, 4096, c.in_channels));
  c.heads = static_cast<int>(json.Int("num_attention_heads", 1, 1024, 20));
  c.head_dim = static_cast<int>(json.Int("attention_head_dim", 2, 1024, 112));
  c.layers = static_cast<int>(json.Int("num_layers", 1, 1024, 20));
  c.cross_heads = static_cast<int>(json.Int("num_cross_attention_heads", 1, 1024, 20));
  c.cross_head_dim = static_cast<int>(json.Int("cross_attention_head_dim", 1, 1024, 112));
  c.caption_channels = static_cast<int>(json.Int("caption_channels", 1, 65536, 2304));
  c.rope_max_positions = static_cast<int>(json.Int("rope_max_seq_len", 1, 1 << 20, 1024));
  c.attention_bias = json.Bool("attention_bias", false);
  c.norm_eps = static_cast<float>(json.Number("norm_eps", 1e-6));
  if (!(c.norm_eps >= 0)) json.Fail("norm_eps", "must not be negative");
  const double ratio = json.Number("mlp_ratio", 2.5);
  if (!(ratio > 0 && ratio <= 64)) json.Fail("mlp_ratio", "must lie in (0, 64]");
  c.ffn_width = static_cast<int64_t>(ratio * static_cast<double>(c.width()));
  if (c.ffn_width < 1) json.Fail("mlp_ratio", "leaves the feed-forward layers no width");
  const std::vector<int64_t> patch = json.Ints("patch_size", {1, 2, 2});
  if (patch.size() != 3) {
    json.Fail("patch_size", "must have three entries: frames, rows, columns");
  } else {
    for (int i = 0; i < 3; ++i) {
      if (patch[i] < 1 || patch[i] > 16) json.Fail("patch_size", "entries must lie in [1, 16]");
      c.patch[i] = static_cast<int>(patch[i]);
    }
  }
  if (c.head_dim % 2 != 0) json.Fail("attention_head_dim", "must be even: rotary positions turn pairs");
  if (json.Int("cross_attention_dim", 1, 1 << 20, 2240) != c.width()) {
    json.Fail("cross_attention_dim",
              "must equal num_attention_heads * attention_head_dim, the projected caption's width");
  }
  // If absent, the class's default applies; null means no norm.
  const nlohmann::json* qk_norm = json.Raw("qk_norm");
  c.qk_norm = qk_norm == nullptr || !qk_norm->is_null();
  if (json.String("qk_norm", "rms_norm_across_heads") != "rms_norm_across_heads") {
    json.Fail("qk_norm", "only \"rms_norm_across_heads\" or null is supported");
  }
  json.MustBe("norm_elementwise_affine", false);
  json.MustBe("guidance_embeds", false);
  json.MustBe("interpolation_scale", nullptr);
  json.Ignore({"_diffusers_version", "_name_or_path", "dropout", "sample_size", "guidance_embeds_scale"});
  RETURN_IF_ERROR(json.Finish());
  return c;
}

}  // namespace longtake
