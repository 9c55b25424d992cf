// The encoder of a Wan VAE: one video frame at a time; the first gives a latent frame, and so does every
// temporal_factor()-th after it. The latent is the mode of the distribution, normalised.
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

// Immutable after loading; shared by all sessions. One call at a time works in one scratch.
class WanEncoder final : public VideoEncoder {
 public:
  // Reads its weights. Errors stick in the loader's weights, whose Finish() returns the first. After one, or where the
  // loader does not pack, the encoder is unusable. `ops` must outlive it.
  WanEncoder(const WanConfig& config, WanLoader& loader, Ops* ops);

  const LatentGeometry& geometry() const override { return geometry_; }
  size_t weight_bytes() const override { return weight_bytes_; }
  // Refused: a size that is no multiple of the patch, or of which a stage would see less than one row or column.
  absl::StatusOr<std::unique_ptr<SizedVideoEncoder>> ForFrames(int height, int width) const override;

 private:
  class Sized;
  struct Stage {
    std::vector<WanResidual> blocks;
    // Between this stage and the next: space halving, then time halving at the next one's resolution.
    std::unique_ptr<PackedKernel> space;  // null in the last stage
    std::unique_ptr<PackedKernel> time;   // null where time stays
    int time_ring = -1;
    int64_t width = 0;  // channels
  };
  absl::StatusOr<WanPlan> Plan(int height, int width) const;
  bool Encode(const WanPlan& plan, const float* pixels, VideoStream* stream, void* scratch, int64_t frames, int64_t t,
              float* latents) const;
  // From `in` (act), of stage `i`, to `out` (act or f32), at the next stage's resolution.
  void HalveSpace(const WanContext& ctx, size_t i, ConstMat in, Mat out) const;

  WanConfig config_;
  LatentGeometry geometry_;
  Ops* ops_;
  WanConv conv_in_;
  std::vector<Stage> stages_;
  WanMiddle middle_;
  WanHead head_;
  std::unique_ptr<PackedKernel> quant_;  // its means only
  std::vector<WanRing> rings_;
  size_t weight_bytes_ = 0;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_WAN_ENCODER_H_
