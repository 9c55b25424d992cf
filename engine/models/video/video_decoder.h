// Decodes latents to video frames as a stream: one latent frame at a time, with the caches in the caller's memory. The
// bytes do not depend on how the stream is divided into calls.
#ifndef LONGTAKE_ENGINE_MODELS_VIDEO_VIDEO_DECODER_H_
#define LONGTAKE_ENGINE_MODELS_VIDEO_VIDEO_DECODER_H_

#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/functional/function_ref.h"
#include "engine/models/video/latent_geometry.h"
#include "engine/models/video/video_frame.h"
#include "engine/models/video/video_stream.h"

namespace longtake {

// A decoder for latents of one size. Immutable; shared by all streams of that size. Only one call at a time may use a
// scratch. Decoding allocates nothing.
class SizedVideoDecoder {
 public:
  // Called for each video frame in order. The view is valid during the call.
  using Emit = absl::FunctionRef<void(const VideoFrame& frame)>;

  virtual ~SizedVideoDecoder() = default;

  virtual size_t cache_bytes() const = 0;    // of each stream, in backend memory
  virtual size_t scratch_bytes() const = 0;  // shared by all streams

  // Decodes frame `t` of `latents` (f32 [channels, frames, height, width], normalized) as the stream's next latent
  // frame. Emits the video frames that it completes: frames Emitted(stream->frames) to Emitted(stream->frames + 1) of
  // the geometry, the last one excluded.
  virtual void Decode(const float* latents, int64_t frames, int64_t t, VideoStream* stream, void* scratch,
                      Emit emit) const = 0;
  // Called after the stream's last latent frame: one of VideoDecoder::drain_steps() steps. Emits at most `frames` (of
  // the geometry) of the video frames held back, maybe none, and returns whether steps are left.
  virtual bool Drain(VideoStream* stream, void* scratch, Emit emit) const = 0;
};

// The decoder's weights. Immutable after loading.
class VideoDecoder {
 public:
  virtual ~VideoDecoder() = default;

  virtual const LatentGeometry& geometry() const = 0;
  virtual int patch() const = 0;  // of the emitted frames
  virtual size_t weight_bytes() const = 0;
  // Steps of Drain after a stream's last latent frame; 0 if nothing is held back.
  virtual int64_t drain_steps() const { return 0; }
  // Video frames that a stream has emitted after `latents` latent frames from the video's first on, and `drained`
  // steps.
  virtual int64_t EmittedAfter(int64_t latents, int64_t /*drained*/) const { return geometry().Emitted(latents); }
  // The result refers to this decoder, which must outlive it. Height and width of the latents must be at least 1.
  virtual std::unique_ptr<SizedVideoDecoder> ForLatents(int height, int width) const = 0;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_VIDEO_VIDEO_DECODER_H_
