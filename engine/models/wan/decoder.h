// The decoder of a Wan VAE: one latent frame at a time, to one video frame for the first and temporal_factor() for each
// later one, so that any cut of a stream gives the same bytes. Reference: diffusers' AutoencoderKLWan.
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

// Immutable after loading; shared by all sessions. One call at a time works in one scratch.
class WanDecoder final : public VideoDecoder {
 public:
  // Reads its weights. Errors stick in the loader's weights, whose Finish() returns the first. After one, or where the
  // loader does not pack, the decoder is unusable. `ops` must outlive it.
  WanDecoder(const WanConfig& config, WanLoader& loader, Ops* ops);

  const LatentGeometry& geometry() const override { return geometry_; }
  size_t weight_bytes() const override { return weight_bytes_; }
  std::unique_ptr<SizedVideoDecoder> ForLatents(int height, int width) const override;

 private:
  class Sized;
  struct Stage {
    std::vector<WanResidual> blocks;
    // Between this stage and the next: time doubling, whose two kernels make the two frames, and space doubling.
    bool doubles_time = false;
    int time_ring = -1;
    std::unique_ptr<PackedKernel> time[2];
    std::unique_ptr<PackedKernel> space;  // null in the last stage
    int64_t width = 0;                    // channels inside
  };
  struct Call;

  WanPlan Plan(int latent_height, int latent_width) const;
  // `emit` gets frames of the last stage's size, f32.
  void Decode(const WanPlan& plan, const float* latents, int64_t frames, int64_t t, VideoStream* stream, void* scratch,
              absl::FunctionRef<void(ConstMat frame)> emit) const;
  // Takes the frame in stage `i`'s x through it and all later ones.
  void RunStage(Call& call, size_t i) const;
  // From `in` (act), of stage `i`, to the next stage's x.
  void DoubleSpace(const Call& call, size_t i, ConstMat in) const;

  WanConfig config_;
  LatentGeometry geometry_;
  Ops* ops_;
  std::unique_ptr<PackedKernel> post_quant_;
  WanConv conv_in_;
  WanMiddle middle_;
  std::vector<Stage> stages_;
  WanHead head_;
  std::vector<WanRing> rings_;
  size_t weight_bytes_ = 0;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_WAN_DECODER_H_
