// Internal to SanaTransformer: what a batch of passes needs beside weights. Batch is in host memory, Work in device
// memory.
#ifndef LONGTAKE_ENGINE_MODELS_SANA_BATCH_H_
#define LONGTAKE_ENGINE_MODELS_SANA_BATCH_H_

#include <cstdint>
#include <span>
#include <vector>

#include "engine/models/sana/transformer.h"
#include "engine/ops/arena.h"
#include "engine/ops/ops.h"

namespace longtake {

// The layout of a batch's tokens, and operation arguments that list passes. It is reused, so that only a batch larger
// than all earlier ones allocates.
struct SanaTransformer::Batch {
  // For the whole batch. Rows and modulation rows are padded to Device::PaddedRows.
  int64_t tokens = 0;             // rows, with padding
  std::vector<Segment> segments;  // of each pass
  std::vector<float> timesteps;   // of all passes, in order: one modulation row each; padding is 0
  std::vector<int32_t> mod_row;   // for each row, its modulation row
  std::vector<const float*> latents;
  std::vector<Segment> predicted;  // segments of the passes that output their velocity
  std::vector<float*> velocities;  // of `predicted`
  // Of the passes with adapters: their rows among the tokens, and among the timesteps.
  std::vector<AdaptedRows> adapted_tokens, adapted_timesteps;
  void SetPasses(const Device& device, const SanaConfig& config, std::span<const TransformerPass> passes);

  // What adapters add to a product over all tokens, or over all timesteps. Valid until the next call.
  std::span<const LowRankTerm> TokenTerms(const PackedKernel& kernel) { return Terms(adapted_tokens, kernel); }
  std::span<const LowRankTerm> TimestepTerms(const PackedKernel& kernel) { return Terms(adapted_timesteps, kernel); }

  // For the current layer, one entry a pass.
  std::vector<LinearAttentionSegment> attention;
  std::vector<CrossAttentionSegment> cross;
  std::vector<ConstMat> tails;
  std::vector<CopyPart> new_tails;  // of commit passes; copied from Work::y
  void SetLayer(int layer, const Ops& ops, const SanaConfig& config, std::span<const TransformerPass> passes, Mat y);

 private:
  std::span<const LowRankTerm> Terms(std::span<const AdaptedRows> adapted, const PackedKernel& kernel);

  std::vector<LinearAttentionState> history_;  // of all passes
  std::vector<LowRankTerm> terms_;
};

// Workspace of a batch. Operands of matrix products have the activation type; the residual stream h stays f32.
struct SanaTransformer::Work {
  Mat h;                   // f32 [N, D]
  Mat normed;              // act [N, D]
  Mat qkv;                 // [N, 3D], of AttentionOps::linear_input_type()
  Mat attended;            // act [N, D]
  Mat cross_q, cross_out;  // act [N, cross width]
  Mat hidden;              // act [N, 2F]; reuses the memory of the attention's buffers
  Mat gated;               // act [N, F]
  Mat y;                   // act [N, D]: FFN output before its temporal convolution; the tail is copied from it
  Mat patches;             // act [N, C * patch]
  Mat projected;           // f32 [N, patch * C_out]
  Mat sinusoids, time_hidden, time_act;    // act [R, 256], [R, D], [R, D]
  Mat embedded;                            // f32 [R, D]: e of the specification
  Mat modulation;                          // f32 [R, 6D]: t6
  Mat layer_modulation, final_modulation;  // f32 [R, 6D], [R, 2D]

  // SANA-Video 2.0 alone; h is the embedded tokens.
  struct Hybrid {
    std::vector<Mat> blocks;  // f32 [N, D] each: what the layers of a block have added, the last one unfinished
    Mat stream;               // f32 [N, D]: what a sub-layer reads, and in front of the FFN what it has added
    Mat projected;            // f32 [N, D]: the output of self-attention
    Mat rotated;              // act [N, 3D]
    Mat beta;                 // f32 [N, heads]
    Mat gate;                 // act [N, D]
    Mat up;                   // act [N, F]; `hidden` is [N, F], too
  } hybrid;

  // N rows, R modulation rows.
  static Work Layout(const SanaConfig& c, Ops& ops, int64_t N, int64_t R, Arena& arena);

 private:
  void TakeLayers(const SanaConfig& c, DType act, DType linear_input, int64_t N, Arena& arena);
  void TakeHybridLayers(const SanaConfig& c, DType act, int64_t N, Arena& arena);
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_SANA_BATCH_H_
