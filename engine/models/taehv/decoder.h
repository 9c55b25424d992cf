// A tiny decoder (TAEHV): convolutions within a frame, and blocks that remember one frame. It takes one normalised
// latent frame at a time, and gives one video frame for the first and as many as the full decoder for each later one.
// It is causal: the bytes do not depend on how a stream is divided into calls. Reference: madebyollin/taehv.
#ifndef LONGTAKE_ENGINE_MODELS_TAEHV_DECODER_H_
#define LONGTAKE_ENGINE_MODELS_TAEHV_DECODER_H_

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/models/taehv/loader.h"
#include "engine/models/taehv/shape.h"
#include "engine/models/video/vae_plan.h"
#include "engine/models/video/video_decoder.h"

namespace longtake {

struct TaehvPlan : VaePlan {
  std::array<size_t, kTaehvStages> x = {};  // scratch offsets of the frame that runs through each stage
  size_t work = 0;    // scratch offset of what blocks work in: two frames. The last stage's new frame lies there too.
  size_t second = 0;  // bytes from `work` to the second frame of a block, by stage: Aligned(act frame)
  size_t pixels = 0;  // scratch offset of the emitted frame
};

// Immutable after loading; shared by all sessions. Only one call at a time may use a scratch.
class TaehvDecoder final : public VideoDecoder {
 public:
  // Reads the weights. The loader keeps the first error, and its weights' Finish() returns it; after one the decoder is
  // unusable. `ops` must outlive it.
  TaehvDecoder(const TaehvShape& shape, TaehvLoader& loader, Ops* ops);

  const LatentGeometry& geometry() const override { return geometry_; }
  int patch() const override { return shape_.patch; }
  size_t weight_bytes() const override { return weight_bytes_; }
  std::unique_ptr<SizedVideoDecoder> ForLatents(int height, int width) const override;

 private:
  class Sized;
  struct Call;
  struct Block {
    std::array<std::unique_ptr<PackedKernel>, 3> conv;
    int past = -1;  // the kept frame: the block's input before this one
  };
  struct Stage {
    std::array<Block, kTaehvBlocks> blocks;
    std::vector<std::unique_ptr<PackedKernel>> step;  // one for each new frame
  };

  TaehvPlan Plan(int latent_height, int latent_width) const;
  // A 3x3 convolution that keeps the frame's size.
  void Conv(const PackedKernel& kernel, const FrameSize& size, std::span<const ConstMat> in, const Mat& out,
            std::span<const ConstMat> residual, Activation activation) const;
  void Decode(const Call& call, const float* latents, int64_t frames, int64_t t) const;
  // Runs the frame in stage `i`'s x, number `index` of its latent frame in that stage, through this and later stages.
  void RunStage(const Call& call, int i, int index) const;
  // y = ReLU(conv(conv(conv(x, past))) + x) in place, with ReLU between them; then past = the old x.
  void RunBlock(const Call& call, int i, const Block& block, bool has_past) const;
  void EmitPixels(const Call& call) const;

  TaehvShape shape_;
  LatentGeometry geometry_;
  Ops* ops_;
  std::unique_ptr<PackedKernel> first_, last_;
  std::array<Stage, kTaehvStages> stages_;
  std::vector<float> zeros_, ones_;  // "statistics" of latents that are taken as they are
  Kept kept_;
  size_t weight_bytes_ = 0;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_TAEHV_DECODER_H_
