// The encoder of an LTX-2 VAE, causal in time. It takes one video frame at a time. The first frame gives a latent
// frame, and so does every temporal_factor()-th frame after it. The latent is the mode of the distribution, normalized.
#ifndef LONGTAKE_ENGINE_MODELS_LTX2_ENCODER_H_
#define LONGTAKE_ENGINE_MODELS_LTX2_ENCODER_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/models/ltx2/config.h"
#include "engine/models/ltx2/layers.h"
#include "engine/models/ltx2/loader.h"
#include "engine/models/ltx2/plan.h"
#include "engine/models/video/video_encoder.h"

namespace longtake {

// Immutable after loading; shared by all sessions. Only one call at a time may use a scratch.
class Ltx2Encoder final : public VideoEncoder {
 public:
  // Like Ltx2Decoder's.
  Ltx2Encoder(const Ltx2Config& config, std::vector<float> mean, std::vector<float> std, Ltx2Loader& loader, Ops* ops);

  const LatentGeometry& geometry() const override { return geometry_; }
  size_t weight_bytes() const override { return weight_bytes_; }
  // InvalidArgument: the size is no multiple of a latent's pixels.
  absl::StatusOr<std::unique_ptr<SizedVideoEncoder>> ForFrames(int height, int width) const override;

 private:
  class Sized;
  struct Stage {
    std::vector<Ltx2Block> blocks;
    Ltx2Conv end;  // of the step to the next stage, or the last convolution, of which only the means are computed
    // If the step halves time, the frame that waits for its pair: the step's input, and what its convolution gave.
    int waiting_x = -1, waiting_out = -1;
  };
  Ltx2Plan Plan(FrameSize size) const;
  bool Encode(const Ltx2Plan& plan, const float* pixels, VideoStream* stream, void* scratch, int64_t frames, int64_t t,
              float* latents) const;
  // Takes x of stage `i`, the stage's frame `number`, to the next stage's x. Returns false if the frame waits for its
  // pair.
  bool RunStep(const Ltx2Context& ctx, const Ltx2Plan& plan, size_t i, int64_t number, std::byte* scratch) const;

  Ltx2Config config_;
  LatentGeometry geometry_;
  std::vector<float> mean_, std_;
  Ops* ops_;
  Ltx2Conv conv_in_;
  std::vector<Stage> stages_;
  Kept kept_;
  size_t weight_bytes_ = 0;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_LTX2_ENCODER_H_
