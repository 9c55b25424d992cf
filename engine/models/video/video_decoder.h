// Latents to video frames, as a stream: one latent frame at a time, with the caches in the caller's memory. Any cut of
// a stream into calls gives the same bytes.
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

// A decoder for latents of one size. Immutable; shared by all streams of that size. One call at a time works in one
// scratch. It allocates nothing.
class SizedVideoDecoder {
 public:
  // Gets each video frame in turn; the view is valid during the call.
  using Emit = absl::FunctionRef<void(const VideoFrame& frame)>;

  virtual ~SizedVideoDecoder() = default;

  virtual size_t cache_bytes() const = 0;    // of each stream, in backend memory
  virtual size_t scratch_bytes() const = 0;  // shared by all streams

  // Takes frame `t` of `latents` (f32 [channels, frames, height, width], normalised) as the stream's next one and emits
  // the video frames that are complete with it: those from Emitted(stream->frames) to Emitted(stream->frames + 1) of
  // the geometry.
  virtual void Decode(const float* latents, int64_t frames, int64_t t, VideoStream* stream, void* scratch,
                      Emit emit) const = 0;
  // Behind the stream's last latent frame: emits at most `frames` (of the geometry) of the video frames that are held
  // back, and returns whether any are left. Where `delay_frames` is 0 it emits nothing.
  virtual bool Drain(VideoStream* stream, void* scratch, Emit emit) const = 0;
};

// The weights. Immutable after loading.
class VideoDecoder {
 public:
  virtual ~VideoDecoder() = default;

  virtual const LatentGeometry& geometry() const = 0;
  virtual size_t weight_bytes() const = 0;
  // Refers to this decoder, which must outlive it. Height and width of the latents are at least 1.
  virtual std::unique_ptr<SizedVideoDecoder> ForLatents(int height, int width) const = 0;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_VIDEO_VIDEO_DECODER_H_
