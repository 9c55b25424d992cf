// The decoder of an LTX-2 VAE. The first latent frame stands for one video frame, each later one for temporal_factor().
// A causal decoder emits them at once, one that looks ahead delay_frames later, the last ones from Drain. The bytes do
// not depend on how a stream is divided into calls. Reference: diffusers' AutoencoderKLLTX2Video.
#ifndef LONGTAKE_ENGINE_MODELS_LTX2_DECODER_H_
#define LONGTAKE_ENGINE_MODELS_LTX2_DECODER_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "engine/models/ltx2/config.h"
#include "engine/models/ltx2/frame_counts.h"
#include "engine/models/ltx2/layers.h"
#include "engine/models/ltx2/loader.h"
#include "engine/models/ltx2/plan.h"
#include "engine/models/video/video_decoder.h"

namespace longtake {

// Immutable after loading; shared by all sessions. Only one call at a time may use a scratch.
class Ltx2Decoder final : public VideoDecoder {
 public:
  // Reads the decoder's weights. `mean` and `std` are those of the latents. The loader keeps the first error, and its
  // weights' Finish() returns it. After an error, or if the loader does not pack, the decoder is unusable. `ops` must
  // outlive it and have ShuffleOps.
  Ltx2Decoder(const Ltx2Config& config, std::vector<float> mean, std::vector<float> std, Ltx2Loader& loader, Ops* ops);

  const LatentGeometry& geometry() const override { return geometry_; }
  int patch() const override { return config_.patch; }
  size_t weight_bytes() const override { return weight_bytes_; }
  // A step finishes one convolution, from the first to the last.
  int64_t drain_steps() const override { return config_.causal_decoder ? 0 : counts_.convs(); }
  int64_t EmittedAfter(int64_t latents, int64_t drained) const override {
    return counts_.Count(latents, drained, /*begins=*/true).emitted;
  }
  std::unique_ptr<SizedVideoDecoder> ForLatents(int height, int width) const override;

 private:
  class Sized;
  struct Stage {
    std::vector<Ltx2Block> blocks;
    Ltx2Conv end;      // of the step to the next stage, or the last convolution
    int waiting = -1;  // the frame of x that is added to the re-ordered one, if the step looks ahead and adds it
  };
  struct Call;

  Ltx2Plan Plan(int latent_height, int latent_width) const;
  void Decode(Call& call, const float* latents, int64_t frames, int64_t t) const;
  // Finishes the convolution of that number and runs what it gives through all later ones.
  void Finish(Call& call, int conv) const;
  // The scratch of stage `i`, with x as the frame that runs through it.
  Ltx2Frames Frames(const Call& call, size_t i) const;
  // Runs frames.x of stage `i` through its blocks from `block` on, and through all later stages.
  void RunStage(Call& call, size_t i, size_t block, Ltx2Frames frames) const;
  // The same, of frame `given` of a step's convolution, which lies in the wide frame. `x` is what the step has taken
  // last; null if it has taken nothing.
  void RunStep(Call& call, size_t i, int64_t given, ConstMat x) const;
  void EmitPixels(Call& call) const;

  Ltx2Config config_;
  LatentGeometry geometry_;
  FrameCounts counts_;
  std::vector<float> mean_, std_;
  Ops* ops_;
  Ltx2Conv conv_in_;
  std::vector<Stage> stages_;
  Kept kept_;
  size_t weight_bytes_ = 0;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_LTX2_DECODER_H_
