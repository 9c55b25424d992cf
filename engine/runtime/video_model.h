// The three models of a folder together, and what one session of them needs.
#ifndef LONGTAKE_ENGINE_RUNTIME_VIDEO_MODEL_H_
#define LONGTAKE_ENGINE_RUNTIME_VIDEO_MODEL_H_

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/engine.h"
#include "engine/models/folder/settings.h"
#include "engine/models/sana/samplers.h"
#include "engine/models/sana/transformer.h"
#include "engine/models/text/caption.h"
#include "engine/models/wan/vae.h"
#include "engine/ops/ops.h"
#include "engine/runtime/memory_plan.h"

namespace longtake {

// A size that the model offers, and the latents' grid at it.
struct SizeShape {
  Size size;
  int height = 0, width = 0;  // of the latents
  WanPlan decoder;
};

// Immutable after loading.
class VideoModel {
 public:
  using Progress = std::function<void(const std::string& what, uint64_t done, uint64_t total)>;
  // `decoder_ops`: the lane that the decoder runs in; it may be `ops`.
  static absl::StatusOr<std::unique_ptr<VideoModel>> Load(Ops& ops, Ops& decoder_ops, const std::string& folder,
                                                          const Progress& progress);

  const ModelInfo& info() const { return info_; }
  const ModelSettings& settings() const { return settings_; }
  const CaptionEncoder& caption() const { return *caption_; }
  const SanaTransformer& transformer() const { return *transformer_; }
  const WanDecoder& decoder() const { return *vae_.decoder; }
  const WanConfig& vae_config() const { return vae_.config; }
  // By level: the model's own first, then the ladder's. Empty for the solver.
  const std::vector<FewStepSampler>& few_step() const { return few_step_; }
  const std::optional<FlowDpmSampler>& flow_dpm() const { return flow_dpm_; }
  int levels() const { return few_step_.empty() ? 1 : static_cast<int>(few_step_.size()); }
  int steps(int level) const { return few_step_.empty() ? info_.denoise_steps : few_step_[level].steps(); }
  float timestep(int level, int step) const {
    return few_step_.empty() ? flow_dpm_->timestep(step) : few_step_[level].timestep(step);
  }

  bool guided() const { return settings_.guided(); }
  int max_block_frames() const;
  const std::vector<SizeShape>& sizes() const { return sizes_; }
  // The size of a session that the model can make. InvalidArgument names the field at fault.
  absl::StatusOr<const SizeShape*> CheckSpec(const SessionSpec& spec) const;
  // Latent elements of a block of the most frames at the largest size.
  int64_t max_block_elements() const;
  int64_t max_pass_tokens() const;  // of one session's denoising, guidance included
  size_t prompt_kv_bytes() const;   // of one prompt at its longest
  SlotPlan slot() const;
  size_t weight_bytes() const;
  // Scratch for transformer batches of up to `tokens`, `passes` rows of timesteps; text fits too.
  size_t ScratchBytes(int64_t tokens, int64_t passes) const;
  // Scratch for decoding a latent frame, its 4:2:0 frame in front.
  size_t DecoderScratchBytes() const;

 private:
  VideoModel() = default;
  absl::Status Describe(Ops& ops, const std::string& folder);

  ModelSettings settings_;
  ModelInfo info_;
  std::unique_ptr<CaptionEncoder> caption_;
  std::unique_ptr<SanaTransformer> transformer_;
  WanVae vae_;
  std::vector<FewStepSampler> few_step_;
  std::optional<FlowDpmSampler> flow_dpm_;
  std::vector<SizeShape> sizes_;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_RUNTIME_VIDEO_MODEL_H_
