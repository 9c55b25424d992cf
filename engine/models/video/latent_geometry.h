// How the latents of a VAE relate to video frames.
#ifndef LONGTAKE_ENGINE_MODELS_VIDEO_LATENT_GEOMETRY_H_
#define LONGTAKE_ENGINE_MODELS_VIDEO_LATENT_GEOMETRY_H_

#include <algorithm>
#include <cstdint>

namespace longtake {

struct LatentGeometry {
  int64_t channels = 0;            // of a latent
  int stride_h = 1, stride_w = 1;  // pixels of a latent, down and across
  int first_frames = 1;            // video frames of a video's first latent frame
  int frames = 1;                  // video frames of each later latent frame: the stride in time
  // Video frames that a decoder holds back until later latents are there. A causal decoder has 0; LTX-2's, which looks
  // ahead, 173.
  int64_t delay_frames = 0;
  // Decoding this many latent frames again restores a decoder's caches (VideoStream::Rebuild). Wan 2.1 needs 38.
  int64_t rebuild_latents = 0;

  // Video frames of a video of so many latent frames.
  int64_t Frames(int64_t latent_frames) const {
    return latent_frames == 0 ? 0 : first_frames + frames * (latent_frames - 1);
  }
  // Video frames that a decoder has emitted once it has taken so many latent frames.
  int64_t Emitted(int64_t latent_frames) const { return std::max<int64_t>(0, Frames(latent_frames) - delay_frames); }
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_VIDEO_LATENT_GEOMETRY_H_
