// The SANA-Video diffusion transformer: bidirectional, or block-causal with a state of constant size. Specification
// sections 3 and 4; diffusers: transformer_sana_video.py. And that of SANA-Video 2.0, which is bidirectional and
// differs in its layers alone (hybrid_layers.cc).
//
// The weights are immutable and shared by all sessions. A pass refers to its session's memory by pointers, so that
// passes of many sessions run as one batch with their tokens packed along one axis. One call at a time, like the Ops
// that it was loaded for.
#ifndef LONGTAKE_ENGINE_MODELS_SANA_TRANSFORMER_H_
#define LONGTAKE_ENGINE_MODELS_SANA_TRANSFORMER_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/models/folder/weight_loader.h"
#include "engine/models/lora/adapter.h"
#include "engine/models/sana/config.h"
#include "engine/ops/arena.h"
#include "engine/ops/ops.h"

namespace longtake {

// A prompt as the transformer stores it: cross K/V of every layer, one after the other.
struct PromptKv {
  const void* data = nullptr;
  int64_t tokens = 0;
};

// A block's contribution to the history, or the running sum of it. For each layer S [h,d,d], then z [h,d]; f32.
using Contribution = float*;

// One block of one session, to be denoised by one step or committed.
struct TransformerPass {
  const float* latents = nullptr;         // f32 [C, T, H, W], backend memory
  int frames = 0, height = 0, width = 0;  // of the latents, before patching
  int first_frame = 0;                    // the block's first latent frame (after temporal patching)
  std::vector<float> timesteps;           // one for the block, or one for each frame after patching
  PromptKv prompt;
  std::span<const AppliedAdapter> adapters;  // the prompt was encoded with the same
  std::vector<const float*> history;         // contributions, oldest first; empty: no history
  const void* tail = nullptr;                // act [layers][frame tokens, D]; null: zeros
  float* velocity = nullptr;                 // f32 [C_out, T, H, W]; null in commit passes
  // Commit passes only: receives history + block (store_sum) or the block's own contribution; `tail_out` the new tail.
  float* contribution_out = nullptr;
  bool store_sum = false;
  void* tail_out = nullptr;
};

class SanaTransformer {
 public:
  // `folder` holds config.json and the weights. Errors name file, field or tensor. Unimplemented: the backend has no
  // HybridOps, and the transformer is SANA-Video 2.0's.
  static absl::StatusOr<std::unique_ptr<SanaTransformer>> Load(Ops& ops, const std::string& folder,
                                                               const LoadProgress& progress);
  ~SanaTransformer();

  const SanaConfig& config() const { return config_; }
  size_t weight_bytes() const { return weight_bytes_; }
  // What adapters may change; the kernels live as long as the transformer.
  const std::vector<LoadedLayer>& layers() const { return layers_; }
  int64_t Tokens(int frames, int height, int width) const;

  size_t ScratchBytes(int64_t tokens, int64_t timestep_rows) const;
  size_t PromptScratchBytes(int64_t caption_tokens) const;
  size_t PromptBytes(int64_t caption_tokens) const;
  size_t ContributionBytes() const;
  size_t TailBytes(int height, int width) const;  // `height`, `width` of the latents

  // Writes the cross K/V of a caption (f32 [L, caption channels], valid rows only) to `out`, of PromptBytes(L).
  void EncodePrompt(ConstMat caption, std::span<const AppliedAdapter> adapters, void* scratch, void* out) const;

  // Runs all passes as one batch. `scratch` has ScratchBytes(all tokens, all timestep rows).
  void Forward(std::span<const TransformerPass> passes, void* scratch) const;

 private:
  struct Layer;
  struct HybridLayer;
  struct Weights;
  struct Work;
  struct Batch;
  SanaTransformer(Ops& ops, const SanaConfig& config);
  static void LoadFirst(const SanaConfig& config, WeightLoader& load, Weights* weights);
  static void LoadHybrid(const SanaConfig& config, WeightLoader& load, Weights* weights);
  void Condition(Batch& batch, const Work& work) const;
  void RunForward(std::span<const TransformerPass> passes, void* scratch) const;
  void RunLayer(const Layer& layer, Batch& batch, const Work& work) const;
  void RunHybridLayer(int layer, Batch& batch, const Work& work) const;
  // From the residual stream `h`, f32 [N, D].
  void PredictVelocity(const Mat& h, Batch& batch, const Work& work) const;

  Ops& ops_;
  SanaConfig config_;
  std::shared_ptr<const Weights> weights_;
  std::unique_ptr<Batch> batch_;  // of the current call; kept so that its memory is reused
  size_t weight_bytes_ = 0;
  std::vector<LoadedLayer> layers_;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_SANA_TRANSFORMER_H_
