// What one video owns of a decoder or of an encoder.
#ifndef LONGTAKE_ENGINE_MODELS_VIDEO_VIDEO_STREAM_H_
#define LONGTAKE_ENGINE_MODELS_VIDEO_VIDEO_STREAM_H_

#include <algorithm>
#include <cstdint>

#include "engine/models/video/latent_geometry.h"

namespace longtake {

// The caches and the position belong together: both may be copied away and back between calls.
struct VideoStream {
  void* caches = nullptr;  // backend memory of cache_bytes(), which need not be initialised
  int64_t frames = 0;      // latent frames that a decoder has taken, or video frames that an encoder has
  int64_t first = 0;       // the frame with which the caches begin; earlier ones are absent from them

  // Rebuilds the caches of a decoder's stream that has taken `position` latent frames: decode the latent frames from
  // the result's `frames` up to `position` again, and drop the video frames that this gives. From then on the stream
  // emits what the lost one would have.
  static VideoStream Rebuild(const LatentGeometry& geometry, int64_t position, void* caches) {
    const int64_t first = std::max<int64_t>(0, position - geometry.rebuild_latents);
    return {.caches = caches, .frames = first, .first = first};
  }
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_VIDEO_VIDEO_STREAM_H_
