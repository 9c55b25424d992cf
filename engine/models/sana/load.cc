#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "engine/models/sana/weights.h"

namespace longtake {

absl::StatusOr<std::unique_ptr<SanaTransformer>> SanaTransformer::Load(Ops& ops, const std::string& folder,
                                                                       const LoadProgress& progress) {
  ASSIGN_OR_RETURN(const SanaConfig c, SanaConfig::Load(folder + "/config.json"));
  ASSIGN_OR_RETURN(TensorStore store, TensorStore::Open(folder, "diffusion_pytorch_model"));
  WeightLoader load(ops, store, progress);
  auto w = std::make_shared<Weights>();
  const int64_t D = c.width(), cross = c.cross_width(), F = c.ffn_width;
  // Kernels that section 7 of the specification allows to be quantized: products over all tokens, except temporal
  // convolutions, cross K/V and the final layer.
  const auto quantizable = [](int64_t outputs, int64_t inputs) {
    return KernelShape{.outputs = outputs, .inputs = inputs, .low_precision = true};
  };

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
    l.qkv = load.Kernel({at + "attn1.to_q", at + "attn1.to_k", at + "attn1.to_v"}, quantizable(3 * D, D), {},
                        c.attention_bias);
    l.out = load.Kernel({at + "attn1.to_out.0"}, quantizable(D, D), {}, true);
    l.cross_q = load.Kernel({at + "attn2.to_q"}, quantizable(cross, D), {}, true);
    l.cross_k = load.Linear({at + "attn2.to_k"}, cross, D, true);
    l.cross_v = load.Linear({at + "attn2.to_v"}, cross, D, true);
    l.cross_out = load.Kernel({at + "attn2.to_out.0"}, quantizable(D, cross), {}, true);
    if (c.qk_norm) {
      l.q_norm = load.Floats(at + "attn1.norm_q.weight", {D});
      l.k_norm = load.Floats(at + "attn1.norm_k.weight", {D});
      l.cross_q_norm = load.Floats(at + "attn2.norm_q.weight", {cross});
      l.cross_k_norm = load.Floats(at + "attn2.norm_k.weight", {cross});
    }
    l.inverted = load.Kernel({at + "ff.conv_inverted"}, quantizable(2 * F, D), {1, 1}, true);
    l.depthwise = load.Depthwise(at + "ff.conv_depth", 2 * F);
    l.point = load.Kernel({at + "ff.conv_point"}, quantizable(D, F), {1, 1}, false);
    l.temporal = load.Kernel({at + "ff.conv_temp"}, {.outputs = D, .inputs = D, .kt = 3}, {3, 1}, false);
  }
  w->final_table = load.Floats("scale_shift_table", {2, D});
  w->final_projection = load.Linear({"proj_out"}, c.out_channels * c.patch_elements(), D, true);
  RETURN_IF_ERROR(load.Finish());

  std::unique_ptr<SanaTransformer> model(new SanaTransformer(ops, c));
  model->weights_ = std::move(w);
  model->weight_bytes_ = load.packed_bytes();
  model->layers_ = load.layers();
  return model;
}

}  // namespace longtake
