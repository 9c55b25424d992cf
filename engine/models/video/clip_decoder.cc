#include "engine/models/video/clip_decoder.h"

#include <limits>
#include <utility>

#include "engine/ops/arena.h"

namespace longtake {
namespace {

class SizedClipDecoder final : public SizedVideoDecoder {
 public:
  SizedClipDecoder(const VideoDecoder& decoder, Ops& ops, int height, int width)
      : decoder_(decoder), ops_(ops), sized_(decoder.ForLatents(height, width)) {
    const LatentGeometry& geometry = decoder.geometry();
    patch_ = decoder.patch();
    rows_ = height * geometry.stride_h / patch_;
    columns_ = width * geometry.stride_w / patch_;
    frame_bytes_ = sizeof(float) * 3 * rows_ * columns_ * patch_ * patch_;
  }

  size_t cache_bytes() const override {
    return Aligned(sized_->cache_bytes()) + (decoder_.geometry().frames - 1) * Aligned(frame_bytes_);
  }
  size_t scratch_bytes() const override { return sized_->scratch_bytes(); }

  void Decode(const float* latents, int64_t frames, int64_t t, VideoStream* stream, void* scratch,
              Emit emit) const override {
    const LatentGeometry& geometry = decoder_.geometry();
    VideoStream inner = After(geometry.Frames(t), frames, stream->caches);
    const int64_t wanted = geometry.Frames(t + 1) - geometry.Frames(t);
    int64_t emitted = 0;
    for (const int64_t waiting = Emitted(inner) - geometry.Frames(t); emitted < waiting; ++emitted) {
      emit(Waiting(stream->caches, emitted));
    }
    int64_t kept = 0;
    const auto take = [&](const VideoFrame& frame) {
      if (emitted < wanted) {
        emit(frame);
        ++emitted;
      } else {
        ops_.device().Copy(frame.pixels.data, WaitingAt(stream->caches, kept++), frame_bytes_);
      }
    };
    while (emitted < wanted && Left(inner, frames)) {
      if (inner.frames < frames) {
        sized_->Decode(latents, frames, inner.frames, &inner, scratch, take);
      } else {
        sized_->Drain(&inner, scratch, take);
      }
    }
    ++stream->frames;
  }
  bool Drain(VideoStream* /*stream*/, void* /*scratch*/, Emit /*emit*/) const override { return false; }

 private:
  int64_t Emitted(const VideoStream& inner) const { return decoder_.EmittedAfter(inner.frames, inner.drained); }
  bool Left(const VideoStream& inner, int64_t frames) const {
    return inner.frames < frames || inner.drained < decoder_.drain_steps();
  }
  // The inner stream of a clip of `frames` latent frames after the fewest steps that emit `emitted` video frames.
  VideoStream After(int64_t emitted, int64_t frames, void* caches) const {
    VideoStream inner{.caches = caches};
    while (Emitted(inner) < emitted && Left(inner, frames)) ++(inner.frames < frames ? inner.frames : inner.drained);
    return inner;
  }

  // Frames that wait, behind the inner caches.
  std::byte* WaitingAt(void* caches, int64_t index) const {
    return static_cast<std::byte*>(caches) + Aligned(sized_->cache_bytes()) + index * Aligned(frame_bytes_);
  }
  VideoFrame Waiting(void* caches, int64_t index) const {
    const std::byte* at = WaitingAt(caches, index);
    return {.pixels = MakeMat(static_cast<const void*>(at), DType::kF32, int64_t{rows_} * columns_,
                              int64_t{3} * patch_ * patch_),
            .rows = rows_,
            .columns = columns_,
            .patch = patch_};
  }

  const VideoDecoder& decoder_;
  Ops& ops_;
  const std::unique_ptr<SizedVideoDecoder> sized_;
  int patch_, rows_, columns_;
  size_t frame_bytes_;
};

class ClipDecoder final : public VideoDecoder {
 public:
  ClipDecoder(std::unique_ptr<VideoDecoder> decoder, Ops* ops)
      : decoder_(std::move(decoder)), ops_(*ops), geometry_(decoder_->geometry()) {
    geometry_.delay_frames = 0;
    geometry_.rebuild_latents = std::numeric_limits<int32_t>::max();  // from the clip's beginning
  }

  const LatentGeometry& geometry() const override { return geometry_; }
  int patch() const override { return decoder_->patch(); }
  size_t weight_bytes() const override { return decoder_->weight_bytes(); }
  std::unique_ptr<SizedVideoDecoder> ForLatents(int height, int width) const override {
    return std::make_unique<SizedClipDecoder>(*decoder_, ops_, height, width);
  }

 private:
  const std::unique_ptr<VideoDecoder> decoder_;
  Ops& ops_;
  LatentGeometry geometry_;
};

}  // namespace

std::unique_ptr<VideoDecoder> DecodeWholeClips(std::unique_ptr<VideoDecoder> decoder, Ops* ops) {
  return std::make_unique<ClipDecoder>(std::move(decoder), ops);
}

}  // namespace longtake
