// The encoder of a Wan VAE. It takes one video frame at a time. The first frame gives a latent frame, and so does every
// temporal_factor()-th frame after it. The latent is the mode of the distribution, normalized.
#ifndef LONGTAKE_ENGINE_MODELS_WAN_ENCODER_H_
#define LONGTAKE_ENGINE_MODELS_WAN_ENCODER_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/models/video/video_encoder.h"
#include "engine/models/wan/config.h"
#include "engine/models/wan/layers.h"
#include "engine/models/wan/loader.h"
#include "engine/models/wan/plan.h"

namespace longtake {

// Immutable after loading; shared by all sessions. Only one call at a time may use a scratch.
class WanEncoder final : public VideoEncoder {
 public:
  // Reads the encoder's weights. The loader keeps the first error, and its weights' Finish() returns it. After an
  // error, or if the loader does not pack, the encoder is unusable. `ops` must outlive it.
  WanEncoder(const WanConfig& config, WanLoader& loader, Ops* ops);

  const LatentGeometry& geometry() const override { return geometry_; }
  size_t weight_bytes() const override { return weight_bytes_; }
  // InvalidArgument: the size is not a multiple of the patch, or a stage would have less than one row or column.
  absl::StatusOr<std::unique_ptr<SizedVideoEncoder>> ForFrames(int height, int width) const override;

 private:
  class Sized;
  struct Stage {
    std::vector<WanResidual> blocks;
    // Between this stage and the next: halving of space, then of time at the next stage's resolution.
    std::unique_ptr<PackedKernel> space;  // null in the last stage
    std::unique_ptr<PackedKernel> time;   // null if time is not halved
    int time_ring = -1;
    int64_t width = 0;  // channels
  };
  absl::StatusOr<WanPlan> Plan(int height, int width) const;
  bool Encode(const WanPlan& plan, const float* pixels, VideoStream* stream, void* scratch, int64_t frames, int64_t t,
              float* latents) const;
  // Writes `in` (act) of stage `i`, halved in space, to `out` (act or f32).
  void HalveSpace(const VaeContext& ctx, size_t i, ConstMat in, Mat out) const;

  WanConfig config_;
  LatentGeometry geometry_;
  Ops* ops_;
  WanConv conv_in_;
  std::vector<Stage> stages_;
  WanMiddle middle_;
  WanHead head_;
  std::unique_ptr<PackedKernel> quant_;  // only its rows for the means
  Kept kept_;
  size_t weight_bytes_ = 0;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_WAN_ENCODER_H_
