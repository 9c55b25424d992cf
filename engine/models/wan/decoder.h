// The decoder of a Wan VAE. It takes one latent frame at a time; the first gives one video frame, each later one
// temporal_factor() video frames. The bytes do not depend on how a stream is divided into calls. Reference: diffusers'
// AutoencoderKLWan.
#ifndef LONGTAKE_ENGINE_MODELS_WAN_DECODER_H_
#define LONGTAKE_ENGINE_MODELS_WAN_DECODER_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/functional/function_ref.h"
#include "engine/models/video/video_decoder.h"
#include "engine/models/wan/config.h"
#include "engine/models/wan/layers.h"
#include "engine/models/wan/loader.h"
#include "engine/models/wan/plan.h"

namespace longtake {

// Immutable after loading; shared by all sessions. Only one call at a time may use a scratch.
class WanDecoder final : public VideoDecoder {
 public:
  // Reads the decoder's weights. The loader keeps the first error, and its weights' Finish() returns it. After an
  // error, or if the loader does not pack, the decoder is unusable. `ops` must outlive it.
  WanDecoder(const WanConfig& config, WanLoader& loader, Ops* ops);

  const LatentGeometry& geometry() const override { return geometry_; }
  int patch() const override { return config_.patch; }
  size_t weight_bytes() const override { return weight_bytes_; }
  std::unique_ptr<SizedVideoDecoder> ForLatents(int height, int width) const override;

 private:
  class Sized;
  struct Stage {
    std::vector<WanResidual> blocks;
    // Between this stage and the next: doubling of time, with one kernel for each of the two new frames, then of space.
    bool doubles_time = false;
    int time_ring = -1;
    std::unique_ptr<PackedKernel> time[2];
    std::unique_ptr<PackedKernel> space;  // null in the last stage
    int64_t width = 0;                    // channels of the stage
  };
  struct Call;

  WanPlan Plan(int latent_height, int latent_width) const;
  // `emit` receives f32 frames of the last stage's size.
  void Decode(const WanPlan& plan, const float* latents, int64_t frames, int64_t t, VideoStream* stream, void* scratch,
              absl::FunctionRef<void(ConstMat frame)> emit) const;
  // Runs the frame in stage `i`'s x through this and all later stages.
  void RunStage(Call& call, size_t i) const;
  // Writes `in` (act) of stage `i`, doubled in space, to the next stage's x.
  void DoubleSpace(const Call& call, size_t i, ConstMat in) const;

  WanConfig config_;
  LatentGeometry geometry_;
  Ops* ops_;
  std::unique_ptr<PackedKernel> post_quant_;
  WanConv conv_in_;
  WanMiddle middle_;
  std::vector<Stage> stages_;
  WanHead head_;
  Kept kept_;
  size_t weight_bytes_ = 0;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_WAN_DECODER_H_
