// The relation between a VAE's latents and video frames.
#ifndef LONGTAKE_ENGINE_MODELS_VIDEO_LATENT_GEOMETRY_H_
#define LONGTAKE_ENGINE_MODELS_VIDEO_LATENT_GEOMETRY_H_

#include <algorithm>
#include <cstdint>

namespace longtake {

struct LatentGeometry {
  int64_t channels = 0;            // of a latent
  int stride_h = 1, stride_w = 1;  // pixels per latent, vertically and horizontally
  int first_frames = 1;            // video frames that the first latent frame decodes to
  int frames = 1;                  // video frames that each later latent frame decodes to
  // Number of video frames that a decoder holds back until it has later latents: 0 for causal decoders, 173 for
  // LTX-2's, which looks ahead.
  int64_t delay_frames = 0;
  // Decoding this many latent frames again restores a decoder's caches (VideoStream::Rebuild). Wan 2.1 needs 38.
  int64_t rebuild_latents = 0;

  // Video frames of a video of `latent_frames` latent frames.
  int64_t Frames(int64_t latent_frames) const {
    return latent_frames == 0 ? 0 : first_frames + frames * (latent_frames - 1);
  }
  // Video frames that a decoder has emitted after `latent_frames` latent frames.
  int64_t Emitted(int64_t latent_frames) const { return std::max<int64_t>(0, Frames(latent_frames) - delay_frames); }
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_VIDEO_LATENT_GEOMETRY_H_
