// The size of a channels-last frame inside a VAE.
#ifndef LONGTAKE_ENGINE_MODELS_VIDEO_FRAME_SIZE_H_
#define LONGTAKE_ENGINE_MODELS_VIDEO_FRAME_SIZE_H_

#include <cstdint>

namespace longtake {

struct FrameSize {
  int height = 0, width = 0;
  int64_t pixels() const { return int64_t{height} * width; }
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_VIDEO_FRAME_SIZE_H_
