// Internal to SanaTransformer: what a batch of passes needs beside weights. Batch is in host memory, Work in the
// device's.
#ifndef LONGTAKE_ENGINE_MODELS_SANA_BATCH_H_
#define LONGTAKE_ENGINE_MODELS_SANA_BATCH_H_

#include <cstdint>
#include <span>
#include <vector>

#include "engine/models/sana/transformer.h"
#include "engine/ops/arena.h"
#include "engine/ops/ops.h"

namespace longtake {

// The layout of a batch's tokens, and arguments that are lists of passes. It is filled again for each batch, so that
// only one larger than all before allocates.
struct SanaTransformer::Batch {
  // Of the whole batch. Rows and modulation rows are padded by Device::PaddedRows.
  int64_t tokens = 0;             // rows, with padding
  std::vector<Segment> segments;  // of each pass
  std::vector<float> timesteps;   // all passes', in order: the modulation rows; padding is 0
  std::vector<int32_t> mod_row;   // of each row its modulation row
  std::vector<const float*> latents;
  std::vector<Segment> predicted;  // the segments of passes that want their velocity
  std::vector<float*> velocities;  // of `predicted`
  void SetPasses(const Device& device, const SanaConfig& config, std::span<const TransformerPass> passes);

  // Of the layer being run, by pass.
  std::vector<LinearAttentionSegment> attention;
  std::vector<CrossAttentionSegment> cross;
  std::vector<ConstMat> tails;
  std::vector<CopyPart> new_tails;  // of commit passes; from Work::y
  void SetLayer(int layer, const Ops& ops, const SanaConfig& config, std::span<const TransformerPass> passes, Mat y);

 private:
  std::vector<LinearAttentionState> history_;  // all passes'
};

// Buffers of a batch. What matrix products read is in the activation type; the residual stream h stays f32.
struct SanaTransformer::Work {
  Mat h;                   // f32 [N, D]
  Mat normed;              // act [N, D]
  Mat qkv;                 // f32 [N, 3D]: sums of its products are the state, which bf16 would round twice
  Mat attended;            // act [N, D]
  Mat cross_q, cross_out;  // act [N, cross width]
  Mat hidden;              // act [N, 2F]; shares memory with the attention's buffers, which are dead by then
  Mat gated;               // act [N, F]
  Mat y;                   // act [N, D]: the FFN before its temporal convolution; it alone is read for the tail
  Mat patches;             // act [N, C * patch]
  Mat projected;           // f32 [N, patch * C_out]
  Mat sinusoids, time_hidden, time_act;    // act [R, 256], [R, D], [R, D]
  Mat embedded;                            // f32 [R, D]: e of the specification
  Mat modulation;                          // f32 [R, 6D]: t6
  Mat layer_modulation, final_modulation;  // f32 [R, 6D], [R, 2D]

  // N rows, R modulation rows.
  static Work Layout(const SanaConfig& c, DType act, int64_t N, int64_t R, Arena& arena);
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_SANA_BATCH_H_
