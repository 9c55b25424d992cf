// The state of one video in a decoder or an encoder.
#ifndef LONGTAKE_ENGINE_MODELS_VIDEO_VIDEO_STREAM_H_
#define LONGTAKE_ENGINE_MODELS_VIDEO_VIDEO_STREAM_H_

#include <algorithm>
#include <cstdint>

#include "engine/models/video/latent_geometry.h"

namespace longtake {

// Caches and position belong together. Both may be copied away and back between calls.
struct VideoStream {
  void* caches = nullptr;  // backend memory of cache_bytes(), which need not be initialized
  int64_t frames = 0;      // latent frames decoded so far, or video frames encoded so far
  int64_t first = 0;       // first frame that the caches contain
  int64_t drained = 0;     // steps of Drain so far

  // Returns a stream for rebuilding the caches of a decoder that has taken `position` latent frames. Decode the latent
  // frames from the result's `frames` up to `position` again and discard the video frames. After that the stream emits
  // the same frames as the original one would.
  static VideoStream Rebuild(const LatentGeometry& geometry, int64_t position, void* caches) {
    const int64_t first = std::max<int64_t>(0, position - geometry.rebuild_latents);
    return {.caches = caches, .frames = first, .first = first};
  }
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_VIDEO_VIDEO_STREAM_H_
