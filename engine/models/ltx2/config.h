// vae/config.json of classes AutoencoderKLLTX2Video (LTX-2 and LTX-2.3) and AutoencoderKLCausalLTX2Video, and the sizes
// that follow from it.
#ifndef LONGTAKE_ENGINE_MODELS_LTX2_CONFIG_H_
#define LONGTAKE_ENGINE_MODELS_LTX2_CONFIG_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/core/json_config.h"
#include "engine/models/video/latent_geometry.h"
#include "engine/ops/convolution.h"
#include "engine/ops/shuffle.h"

namespace longtake {

// Twice the stages and blocks of any published model. They bound the factors between latents and pixels, and the number
// of convolutions.
inline constexpr int kMaxLtx2Stages = 8, kMaxLtx2Blocks = 16;
// First and last convolution, two in each residual block, one between stages.
inline constexpr int kMaxLtx2Convs = 2 + (kMaxLtx2Stages + 1) * 2 * kMaxLtx2Blocks + kMaxLtx2Stages;

// One of the two halves: stages in the order in which frames run through them.
struct Ltx2Half {
  struct Step {  // from one stage to the next
    ShuffleFactor factor;
    int64_t conv_outputs = 0;  // of its convolution, before the re-ordering
    bool residual = true;
  };
  std::vector<int64_t> widths;  // channels of each stage
  std::vector<int> blocks;      // residual blocks of each stage
  std::vector<Step> steps;      // one fewer than stages
  Border border = Border::kZeros;

  int stages() const { return static_cast<int>(widths.size()); }
  int spatial_factor() const;   // without the patch
  int temporal_factor() const;  // video frames per latent frame after the first
};

struct Ltx2Config {
  int64_t latent_channels = 128;
  int patch = 4;  // pixels per position of the first or last stage, in both directions
  Ltx2Half encoder, decoder;
  // Each frame depends on earlier ones only. Otherwise every convolution of the decoder also reads the next frame. The
  // encoder is always causal.
  bool causal_decoder = false;

  int64_t pixel_channels() const { return int64_t{3} * patch * patch; }
  LatentGeometry geometry() const;
};

// InvalidArgument names the file and the field. Not supported: conditioning on a timestep, injected noise, a residual
// block that changes the width, `scaling_factor` other than 1, and running decoders that look ahead causally.
absl::StatusOr<Ltx2Config> ReadLtx2Config(JsonConfig config);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_LTX2_CONFIG_H_
