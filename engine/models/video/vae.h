// A VAE: its decoder and its encoder.
#ifndef LONGTAKE_ENGINE_MODELS_VIDEO_VAE_H_
#define LONGTAKE_ENGINE_MODELS_VIDEO_VAE_H_

#include <memory>

#include "engine/models/video/video_decoder.h"
#include "engine/models/video/video_encoder.h"

namespace longtake {

struct VaeParts {
  bool decoder = false, encoder = false;
};

struct VideoVae {
  std::unique_ptr<VideoDecoder> decoder;  // null if not requested
  std::unique_ptr<VideoEncoder> encoder;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_VIDEO_VAE_H_
