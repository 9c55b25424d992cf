#include "engine/models/ltx2/frame_counts.h"

#include <algorithm>

namespace longtake {

FrameCounts::FrameCounts(const Ltx2Half& decoder, bool causal) : causal_(causal) {
  const size_t count = decoder.widths.size();
  for (size_t i = 0; i < count; ++i) {
    const bool last = i + 1 == count;
    // conv_in comes before the first stage's blocks; a step's convolution or conv_out comes after any stage's.
    stages_.push_back(
        {.convs = (i == 0 ? 1 : 0) + 2 * decoder.blocks[i] + 1, .times = last ? 1 : decoder.steps[i].factor.t});
    convs_ += stages_.back().convs;
  }
}

FrameCounts::At FrameCounts::Count(int64_t latents, int64_t finished, bool begins) const {
  At at;
  int conv = 0;
  int64_t frames = latents;
  for (const Stage& stage : stages_) {
    for (int end = conv + stage.convs; conv < end; ++conv) {
      at.seen[conv] = frames;
      if (!causal_ && frames > 0 && conv >= finished) --frames;
    }
    if (frames > 0) frames = frames * stage.times - (begins ? stage.times - 1 : 0);
  }
  at.emitted = frames;
  return at;
}

int64_t FrameCounts::DelayFrames() const {
  if (causal_) return 0;
  // Every convolution holds one frame back, so as many latent frames fill the pipeline.
  const int64_t latents = convs_ + 1;
  int64_t frames = 1;
  for (const Stage& stage : stages_) frames *= stage.times;
  return 1 + frames * (latents - 1) - Count(latents, 0, /*begins=*/true).emitted;
}

int64_t FrameCounts::RebuildLatents() const {
  // Walks back from the first video frame that a late latent frame gives; each convolution needs two frames before the
  // one that it takes last.
  const int64_t latents = int64_t{1} << 20;  // far from the beginning of the stream
  int64_t frame = Count(latents, 0, /*begins=*/true).emitted;
  for (auto stage = stages_.rbegin(); stage != stages_.rend(); ++stage) {
    // Where time is doubled, frames 2k - 1 and 2k come from frame k.
    frame = (frame + stage->times - 1) / stage->times;
    frame -= stage->convs * (causal_ ? 2 : 1);
  }
  return latents - frame;
}

}  // namespace longtake
