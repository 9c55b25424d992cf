#include "engine/models/sana/config.h"

#include <algorithm>
#include <string>
#include <vector>

#include "common/status_macros.h"
#include "engine/core/json_config.h"
#include "engine/models/folder/quantized_weights.h"
#include "engine/ops/hybrid.h"

namespace longtake {
namespace {

void ReadPatch(JsonConfig& json, const std::vector<int64_t>& otherwise, SanaConfig* c) {
  const std::vector<int64_t> patch = json.Ints("patch_size", otherwise);
  if (patch.size() != 3) {
    json.Fail("patch_size", "must have three entries: frames, rows, columns");
    return;
  }
  for (int i = 0; i < 3; ++i) {
    if (patch[i] < 1 || patch[i] > 16) json.Fail("patch_size", "entries must lie in [1, 16]");
    c->patch[i] = static_cast<int>(patch[i]);
  }
}

// Every field must be there: the file is written by tools/convert, and no class has defaults for it.
absl::StatusOr<SanaConfig> LoadHybrid(JsonConfig json) {
  SanaConfig c;
  HybridConfig hybrid;
  c.in_channels = c.out_channels = static_cast<int>(json.Int("channels", 1, 4096));
  c.layers = static_cast<int>(json.Int("layers", 1, 1024));
  c.caption_channels = static_cast<int>(json.Int("caption_channels", 1, 65536));
  const int64_t width = json.Int("width", 2, 1 << 16), ffn_ratio = json.Int("ffn_ratio", 1, 64);
  const auto heads_of = [&](const std::string& field, int64_t head_dim) {
    if (head_dim < 1) return 1;  // an error that has been noted
    if (width % head_dim != 0) json.Fail(field, "must divide width");
    if (head_dim % 2 != 0) json.Fail(field, "must be even: rotary positions turn pairs");
    return static_cast<int>(width / head_dim);
  };
  c.head_dim = static_cast<int>(json.Int("linear_head_dim", 2, 1024));
  c.heads = heads_of("linear_head_dim", c.head_dim);
  hybrid.softmax_head_dim = static_cast<int>(json.Int("softmax_head_dim", 2, 1024));
  heads_of("softmax_head_dim", hybrid.softmax_head_dim);
  c.cross_heads = static_cast<int>(json.Int("cross_heads", 1, 1024));
  if (c.cross_heads > 0 && width % c.cross_heads != 0) json.Fail("cross_heads", "must divide width");
  c.cross_head_dim = static_cast<int>(width / std::max(c.cross_heads, 1));
  c.cross_norm_eps = 1e-6f;
  c.ffn_width = ffn_ratio * width;
  const double ratio = json.Number("softmax_ratio", 0);
  if (!(ratio > 0 && ratio <= 1)) json.Fail("softmax_ratio", "must lie in (0, 1]");
  hybrid.softmax_layers = std::max(1, static_cast<int>(ratio * c.layers));
  hybrid.residual_block = std::max(1, static_cast<int>(json.Int("residual_block", 1, 1024)));
  if (hybrid.Blocks(c.layers) + 1 > DepthAttentionArgs::kMostSources) {
    json.Fail("residual_block", "is too small for so many layers");
  }
  ReadPatch(json, {1, 1, 1}, &c);
  CheckQuantizationConfig(json);
  json.Ignore({"sample_size"});
  RETURN_IF_ERROR(json.Finish());
  c.hybrid = hybrid;
  return c;
}

}  // namespace

bool HybridConfig::IsSoftmax(int layer, int layers) const {
  // The i-th of n is layer floor((i + 1) layers / n) - 1.
  for (int i = 0; i < softmax_layers; ++i) {
    if (int64_t{i + 1} * layers / softmax_layers - 1 == layer) return true;
  }
  return false;
}

absl::StatusOr<SanaConfig> SanaConfig::Load(const std::string& path) {
  ASSIGN_OR_RETURN(JsonConfig json, JsonConfig::Load(path));
  SanaConfig c;
  const std::string name = json.String("_class_name", "SanaVideoTransformer3DModel");
  if (name == "SanaVideo2") return LoadHybrid(std::move(json));
  if (name != "SanaVideoTransformer3DModel" && name != "SanaVideoCausalTransformer3DModel") {
    json.Fail("_class_name",
              "must be \"SanaVideoTransformer3DModel\", \"SanaVideoCausalTransformer3DModel\" or \"SanaVideo2\"");
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
  ReadPatch(json, {1, 2, 2}, &c);
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
  CheckQuantizationConfig(json);
  json.Ignore({"_diffusers_version", "_name_or_path", "dropout", "sample_size", "guidance_embeds_scale"});
  RETURN_IF_ERROR(json.Finish());
  return c;
}

}  // namespace longtake
