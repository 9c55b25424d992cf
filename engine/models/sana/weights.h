// Internal to SanaTransformer: its packed weights.
#ifndef LONGTAKE_ENGINE_MODELS_SANA_WEIGHTS_H_
#define LONGTAKE_ENGINE_MODELS_SANA_WEIGHTS_H_

#include <memory>
#include <vector>

#include "engine/models/sana/transformer.h"

namespace longtake {

struct SanaTransformer::Layer {
  std::unique_ptr<Buffer> table;  // [6, D]: shift, scale, gate of attention, then those of the FFN
  std::unique_ptr<PackedKernel> qkv, out;
  std::unique_ptr<Buffer> q_norm, k_norm;  // null if the model has no such norm
  std::unique_ptr<PackedKernel> cross_q, cross_k, cross_v, cross_out;
  std::unique_ptr<Buffer> cross_q_norm, cross_k_norm;
  std::unique_ptr<PackedKernel> inverted, depthwise, point, temporal;
};

// A layer of SANA-Video 2.0.
struct SanaTransformer::HybridLayer {
  bool softmax = false;
  std::unique_ptr<Buffer> table;  // as Layer::table
  std::unique_ptr<PackedKernel> qkv, out, output_gate;
  std::unique_ptr<PackedKernel> beta;  // linear layers only
  std::unique_ptr<Buffer> q_norm, k_norm;
  std::unique_ptr<Buffer> head_norm;  // linear layers only
  std::unique_ptr<PackedKernel> cross_q, cross_k, cross_v, cross_out;
  std::unique_ptr<Buffer> cross_q_norm, cross_k_norm;
  std::unique_ptr<PackedKernel> gate, up, down;
};

struct SanaTransformer::Weights {
  std::unique_ptr<PackedKernel> patch_embedding;
  std::unique_ptr<PackedKernel> time_1, time_2, time_modulation;
  std::unique_ptr<PackedKernel> caption_1, caption_2;
  std::unique_ptr<Buffer> caption_norm;
  std::vector<Layer> layers;               // one of the two
  std::vector<HybridLayer> hybrid_layers;  //
  // SANA-Video 2.0: what the attention over depth looks for, before self-attention, the FFN and the final layer; [D].
  std::unique_ptr<Buffer> attention_depth, ffn_depth, final_depth;
  std::unique_ptr<Buffer> final_table;  // [2, D]: shift, scale
  std::unique_ptr<PackedKernel> final_projection;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_SANA_WEIGHTS_H_
