// Lets whole clips be decoded by a decoder that looks ahead as by a causal one: latent frame by latent frame, each with
// its own video frames.
#ifndef LONGTAKE_ENGINE_MODELS_VIDEO_CLIP_DECODER_H_
#define LONGTAKE_ENGINE_MODELS_VIDEO_CLIP_DECODER_H_

#include <memory>

#include "engine/models/video/video_decoder.h"
#include "engine/ops/ops.h"

namespace longtake {

// Returns a decoder whose geometry has no delay. Its SizedVideoDecoder::Decode must get the same whole clip in every
// call of a stream: `frames` is the clip's length and `t` the number of latent frames decoded so far. It takes as many
// latent frames as it needs and emits frames Frames(t) to Frames(t + 1); the first call therefore does most of a short
// clip's work. The bytes are those of `decoder`. Caches are rebuilt from the clip's beginning.
//
// A stream's position follows from `t` and the length, so a stream stores no more than others. A step of `decoder` may
// emit up to `frames` - 1 frames too many, which wait in the caches. `decoder` emits f32 frames without gaps between
// rows; `ops`, which it uses, must outlive the result.
std::unique_ptr<VideoDecoder> DecodeWholeClips(std::unique_ptr<VideoDecoder> decoder, Ops* ops);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_VIDEO_CLIP_DECODER_H_
