// vae/config.json of class AutoencoderKLWan (Wan VAE), and the sizes that follow from it.
#ifndef LONGTAKE_ENGINE_MODELS_WAN_CONFIG_H_
#define LONGTAKE_ENGINE_MODELS_WAN_CONFIG_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/core/json_config.h"
#include "engine/models/video/latent_geometry.h"

namespace longtake {

// Twice the stages of any published model. It bounds the factor between latents and pixels (2^7).
inline constexpr int kMaxWanStages = 8;

struct WanConfig {
  int64_t base_dim = 96;                                        // the encoder's width at full resolution
  int64_t decoder_base_dim = 96;                                // the decoder's width at full resolution
  int64_t z_dim = 16;                                           // latent channels
  std::vector<int64_t> dim_mult = {1, 2, 4, 4};                 // widths of the stages, from full resolution down
  int res_blocks = 2;                                           // in each encoder stage; a decoder stage has one more
  std::vector<bool> temporal_downsample = {false, true, true};  // of the encoder, from full resolution down
  std::vector<float> mean, std;                                 // of each latent channel: z = normalized * std + mean
  int patch = 1;  // pixels per position of the first stage, in both directions

  int stages() const { return static_cast<int>(dim_mult.size()); }
  int64_t pixel_channels() const { return int64_t{3} * patch * patch; }
  int spatial_factor() const { return patch << (stages() - 1); }  // pixels per latent, in both directions
  int temporal_factor() const;                                    // video frames per latent frame after the first

  LatentGeometry geometry() const;
};

// InvalidArgument names the file and the field. Not supported: the residual variant (Wan 2.2), attention in the stages,
// and other than three colour channels.
absl::StatusOr<WanConfig> ReadWanConfig(JsonConfig config);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_WAN_CONFIG_H_
