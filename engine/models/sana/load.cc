#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "engine/models/sana/weights.h"

namespace longtake {
namespace {

// A kernel that section 7 of the specification allows to be quantized: products over all tokens, except temporal
// convolutions, cross K/V and the final layer.
KernelShape Quantizable(int64_t outputs, int64_t inputs) {
  return {.outputs = outputs, .inputs = inputs, .low_precision = true};
}

}  // namespace

absl::StatusOr<std::unique_ptr<SanaTransformer>> SanaTransformer::Load(Ops& ops, const std::string& folder,
                                                                       const LoadProgress& progress) {
  ASSIGN_OR_RETURN(const SanaConfig c, SanaConfig::Load(folder + "/config.json"));
  ASSIGN_OR_RETURN(TensorStore store, TensorStore::Open(folder, "diffusion_pytorch_model"));
  WeightLoader load(ops, store, progress);
  auto w = std::make_shared<Weights>();
  if (c.hybrid.has_value()) {
    LoadHybrid(c, load, w.get());
  } else {
    LoadFirst(c, load, w.get());
  }
  RETURN_IF_ERROR(load.Finish());

  std::unique_ptr<SanaTransformer> model(new SanaTransformer(ops, c));
  model->weights_ = std::move(w);
  model->weight_bytes_ = load.packed_bytes();
  model->layers_ = load.layers();
  return model;
}

void SanaTransformer::LoadFirst(const SanaConfig& c, WeightLoader& load, Weights* w) {
  const int64_t D = c.width(), cross = c.cross_width(), F = c.ffn_width;
  w->patch_embedding = load.PatchEmbedding("patch_embedding", D, c.in_channels, c.patch);
  const std::string time = "time_embed.emb.timestep_embedder.";
  w->time_1 = load.Linear({time + "linear_1"}, D, 256, true);
  w->time_2 = load.Linear({time + "linear_2"}, D, D, true);
  w->time_modulation = load.Linear({"time_embed.linear"}, 6 * D, D, true);
  w->caption_1 = load.Linear({"caption_projection.linear_1"}, D, c.caption_channels, true);
  w->caption_2 = load.Linear({"caption_projection.linear_2"}, D, D, true);
  w->caption_norm = load.Floats("caption_norm.weight", {D});
  for (int i = 0; i < c.layers; ++i) {
    const std::string at = absl::StrCat("transformer_blocks.", i, ".");
    Layer& l = w->layers.emplace_back();
    l.table = load.Floats(at + "scale_shift_table", {6, D});
    l.qkv = load.Kernel({at + "attn1.to_q", at + "attn1.to_k", at + "attn1.to_v"}, Quantizable(3 * D, D), {},
                        c.attention_bias);
    l.out = load.Kernel({at + "attn1.to_out.0"}, Quantizable(D, D), {}, true);
    l.cross_q = load.Kernel({at + "attn2.to_q"}, Quantizable(cross, D), {}, true);
    l.cross_k = load.Linear({at + "attn2.to_k"}, cross, D, true);
    l.cross_v = load.Linear({at + "attn2.to_v"}, cross, D, true);
    l.cross_out = load.Kernel({at + "attn2.to_out.0"}, Quantizable(D, cross), {}, true);
    if (c.qk_norm) {
      l.q_norm = load.Floats(at + "attn1.norm_q.weight", {D});
      l.k_norm = load.Floats(at + "attn1.norm_k.weight", {D});
      l.cross_q_norm = load.Floats(at + "attn2.norm_q.weight", {cross});
      l.cross_k_norm = load.Floats(at + "attn2.norm_k.weight", {cross});
    }
    l.inverted = load.Kernel({at + "ff.conv_inverted"}, Quantizable(2 * F, D), {1, 1}, true);
    l.depthwise = load.Depthwise(at + "ff.conv_depth", 2 * F);
    l.point = load.Kernel({at + "ff.conv_point"}, Quantizable(D, F), {1, 1}, false);
    l.temporal = load.Kernel({at + "ff.conv_temp"}, {.outputs = D, .inputs = D, .kt = 3}, {3, 1}, false);
  }
  w->final_table = load.Floats("scale_shift_table", {2, D});
  w->final_projection = load.Linear({"proj_out"}, c.out_channels * c.patch_elements(), D, true);
}

// Names as NVlabs' checkpoints have them.
void SanaTransformer::LoadHybrid(const SanaConfig& c, WeightLoader& load, Weights* w) {
  const int64_t D = c.width(), F = c.ffn_width;
  w->patch_embedding = load.PatchEmbedding("x_embedder.proj", D, c.in_channels, c.patch);
  w->time_1 = load.Linear({"t_embedder.mlp.0"}, D, 256, true);
  w->time_2 = load.Linear({"t_embedder.mlp.2"}, D, D, true);
  w->time_modulation = load.Linear({"t_block.1"}, 6 * D, D, true);
  w->caption_1 = load.Linear({"y_embedder.y_proj.fc1"}, D, c.caption_channels, true);
  w->caption_2 = load.Linear({"y_embedder.y_proj.fc2"}, D, D, true);
  w->caption_norm = load.Floats("attention_y_norm.weight", {D});
  for (int i = 0; i < c.layers; ++i) {
    const std::string at = absl::StrCat("blocks.", i, ".");
    HybridLayer& l = w->hybrid_layers.emplace_back();
    l.softmax = c.hybrid->IsSoftmax(i, c.layers);
    l.table = load.Floats(at + "scale_shift_table", {6, D});
    l.qkv = load.Kernel({at + "attn.qkv"}, Quantizable(3 * D, D), {}, false);
    l.out = load.Kernel({at + "attn.proj"}, Quantizable(D, D), {}, true);
    l.output_gate = load.Kernel({at + "attn.output_gate"}, Quantizable(D, D), {}, true);
    l.q_norm = load.Floats(at + "attn.q_norm.weight", {D});
    l.k_norm = load.Floats(at + "attn.k_norm.weight", {D});
    if (!l.softmax) {
      l.beta = load.Linear({at + "attn.beta_proj"}, c.heads, D, true);
      l.head_norm = load.Floats(at + "attn.o_norm.weight", {c.head_dim});
    }
    l.cross_q = load.Kernel({at + "cross_attn.q_linear"}, Quantizable(D, D), {}, true);
    l.cross_k = load.KernelPart(at + "cross_attn.kv_linear", 2 * D, 0, {.outputs = D, .inputs = D}, {});
    l.cross_v = load.KernelPart(at + "cross_attn.kv_linear", 2 * D, D, {.outputs = D, .inputs = D}, {});
    l.cross_out = load.Kernel({at + "cross_attn.proj"}, Quantizable(D, D), {}, true);
    l.cross_q_norm = load.Floats(at + "cross_attn.q_norm.weight", {D});
    l.cross_k_norm = load.Floats(at + "cross_attn.k_norm.weight", {D});
    l.gate = load.Kernel({at + "mlp.gate_proj"}, Quantizable(F, D), {}, true);
    l.up = load.Kernel({at + "mlp.up_proj"}, Quantizable(F, D), {}, true);
    l.down = load.Kernel({at + "mlp.down_proj"}, Quantizable(D, F), {}, true);
  }
  w->attention_depth = load.Floats("attn_res.attn_proj.weight", {1, D});
  w->ffn_depth = load.Floats("attn_res.mlp_proj.weight", {1, D});
  w->final_depth = load.Floats("attn_res.final_proj.weight", {1, D});
  w->final_table = load.Floats("final_layer.scale_shift_table", {2, D});
  w->final_projection = load.Linear({"final_layer.linear"}, c.out_channels * c.patch_elements(), D, true);
}

}  // namespace longtake
