// Video frames to latents, as a stream: one video frame at a time, with the caches in the caller's memory.
#ifndef LONGTAKE_ENGINE_MODELS_VIDEO_VIDEO_ENCODER_H_
#define LONGTAKE_ENGINE_MODELS_VIDEO_VIDEO_ENCODER_H_

#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "engine/models/video/latent_geometry.h"
#include "engine/models/video/video_stream.h"

namespace longtake {

// An encoder for frames of one size. Immutable; shared by all streams of that size. One call at a time works in one
// scratch. It allocates nothing.
class SizedVideoEncoder {
 public:
  virtual ~SizedVideoEncoder() = default;

  virtual size_t cache_bytes() const = 0;    // of each stream, in backend memory
  virtual size_t scratch_bytes() const = 0;  // shared by all streams
  virtual int latent_height() const = 0;
  virtual int latent_width() const = 0;

  // Takes the stream's next video frame, planar f32 [3, height, width] in backend memory. Where it completes a latent
  // frame, that is stored as frame `t` of `latents` (f32 [channels, frames, latent_height, latent_width], normalised,
  // the mode of the distribution) and true is returned. A stream of one frame (an image) needs no caches.
  virtual bool Encode(const float* pixels, VideoStream* stream, void* scratch, int64_t frames, int64_t t,
                      float* latents) const = 0;
};

// The weights. Immutable after loading.
class VideoEncoder {
 public:
  virtual ~VideoEncoder() = default;

  virtual const LatentGeometry& geometry() const = 0;
  virtual size_t weight_bytes() const = 0;
  // For frames of that size in pixels. Refers to this encoder, which must outlive it. InvalidArgument: a size that the
  // model cannot encode.
  virtual absl::StatusOr<std::unique_ptr<SizedVideoEncoder>> ForFrames(int height, int width) const = 0;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_VIDEO_VIDEO_ENCODER_H_
