// Reads a tiny decoder's weights and brings them into the forms in which the convolutions take them.
#ifndef LONGTAKE_ENGINE_MODELS_TAEHV_LOADER_H_
#define LONGTAKE_ENGINE_MODELS_TAEHV_LOADER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/models/taehv/shape.h"
#include "engine/models/video/vae_loader.h"
#include "engine/ops/ops.h"

namespace longtake {

class TaehvLoader : public VaeLoader {
 public:
  explicit TaehvLoader(WeightLoader& weights) : VaeLoader(weights, /*pack=*/true) {}

  // Reads the 3x3 convolution `name` with a bias.
  std::unique_ptr<PackedKernel> Conv(const std::string& name, int64_t inputs, int64_t outputs);
  // Reads a 3x3 convolution of a frame joined with the one before it, [width, 2 * width, 3, 3], as a kernel with two
  // taps in time: the frame, then the one before it.
  std::unique_ptr<PackedKernel> Memory(const std::string& name, int64_t width);
  // Reads the end of stage `stage`: the 1x1 convolution that makes successive frames, and the 3x3 convolution on each
  // of them. Neither has a bias and nothing stands between them, so that their product is one 3x3 convolution for each
  // frame. The doubling in space before both commutes with the 1x1, and is the convolution's own.
  std::vector<std::unique_ptr<PackedKernel>> Step(const TaehvShape& shape, int stage);
  // Reads the last convolution, scaled from pixels in [0, 1] to [-1, 1] and with the channels in VideoFrame's order.
  std::unique_ptr<PackedKernel> Pixels(const TaehvShape& shape);
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_TAEHV_LOADER_H_
