// The shape of a tiny decoder (TAEHV), read from the shapes of its tensors: its files have no config.
#ifndef LONGTAKE_ENGINE_MODELS_TAEHV_SHAPE_H_
#define LONGTAKE_ENGINE_MODELS_TAEHV_SHAPE_H_

#include <array>
#include <cstdint>

#include "absl/status/statusor.h"
#include "engine/core/safetensors.h"
#include "engine/models/video/latent_geometry.h"

namespace longtake {

// Stages, and memory blocks of each.
inline constexpr int kTaehvStages = 3, kTaehvBlocks = 3;

struct TaehvShape {
  int64_t channels = 0;                               // of a latent
  std::array<int64_t, kTaehvStages + 1> widths = {};  // of the stages, and after the last one
  std::array<int, kTaehvStages> space = {2, 2, 2};    // by which a stage's end enlarges height and width: 1 or 2
  std::array<int, kTaehvStages> times = {1, 1, 1};    // successive frames that a stage makes of one
  std::array<int64_t, kTaehvStages> rows = {};        // that the file has for them; the last are used
  int patch = 1;                                      // pixels per position after the last stage

  int frames() const { return times[0] * times[1] * times[2]; }          // of a latent frame; 1 of the first one
  int stride() const { return patch * space[0] * space[1] * space[2]; }  // pixels of a latent, a side
  int64_t pixel_channels() const { return int64_t{3} * patch * patch; }
  LatentGeometry geometry() const;
};

// The number of the layer that begins stage `stage`: its first memory block. A stage has six layers.
constexpr int TaehvLayer(int stage) { return 3 + 6 * stage; }
inline constexpr int kTaehvFirstLayer = 1, kTaehvLastLayer = 22;

// `vae`: what the VAE makes of a latent. A file may be able to make more frames and more pixels: the earliest stages
// then make one frame of one, and leave its size as it is. Null: as much as the file can. Errors name the file and the
// tensor. Unimplemented: the wide ("super") architecture.
absl::StatusOr<TaehvShape> ReadTaehvShape(const TensorStore& store, const LatentGeometry* vae);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_TAEHV_SHAPE_H_
