// Encodes video frames to latents as a stream: one video frame at a time, with the caches in the caller's memory.
#ifndef LONGTAKE_ENGINE_MODELS_VIDEO_VIDEO_ENCODER_H_
#define LONGTAKE_ENGINE_MODELS_VIDEO_VIDEO_ENCODER_H_

#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "engine/models/video/latent_geometry.h"
#include "engine/models/video/video_stream.h"

namespace longtake {

// An encoder for frames of one size. Immutable; shared by all streams of that size. Only one call at a time may use a
// scratch. Encoding allocates nothing.
class SizedVideoEncoder {
 public:
  virtual ~SizedVideoEncoder() = default;

  virtual size_t cache_bytes() const = 0;    // of each stream, in backend memory
  virtual size_t scratch_bytes() const = 0;  // shared by all streams
  virtual int latent_height() const = 0;
  virtual int latent_width() const = 0;

  // Encodes the stream's next video frame, planar f32 [3, height, width] in backend memory. If it completes a latent
  // frame, stores that as frame `t` of `latents` (f32 [channels, frames, latent_height, latent_width], normalized, the
  // mode of the distribution) and returns true. A stream of one frame (an image) needs no caches.
  virtual bool Encode(const float* pixels, VideoStream* stream, void* scratch, int64_t frames, int64_t t,
                      float* latents) const = 0;
};

// The encoder's weights. Immutable after loading.
class VideoEncoder {
 public:
  virtual ~VideoEncoder() = default;

  virtual const LatentGeometry& geometry() const = 0;
  virtual size_t weight_bytes() const = 0;
  // `height` and `width` are in pixels. The result refers to this encoder, which must outlive it. InvalidArgument: the
  // model cannot encode that size.
  virtual absl::StatusOr<std::unique_ptr<SizedVideoEncoder>> ForFrames(int height, int width) const = 0;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_VIDEO_VIDEO_ENCODER_H_
