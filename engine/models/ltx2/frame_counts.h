// How many frames each convolution of the decoder has seen and how many the decoder has given, as pure functions of the
// latent frames taken. Streams therefore store two numbers only.
//
// A causal convolution gives a frame for each that it takes. One that looks ahead gives frame t when it takes t + 1;
// its last frame it gives when it is finished, which takes the last input once more.
#ifndef LONGTAKE_ENGINE_MODELS_LTX2_FRAME_COUNTS_H_
#define LONGTAKE_ENGINE_MODELS_LTX2_FRAME_COUNTS_H_

#include <array>
#include <cstdint>
#include <vector>

#include "engine/models/ltx2/config.h"

namespace longtake {

class FrameCounts {
 public:
  FrameCounts(const Ltx2Half& decoder, bool causal);

  struct At {
    std::array<int64_t, kMaxLtx2Convs> seen;  // by each convolution, in the order in which frames run through them
    int64_t emitted = 0;                      // video frames
  };
  // After `latents` latent frames, and after the first `finished` convolutions have been finished. With `begins` the
  // first of them is the video's first, whose doubled frames are dropped but for the last.
  At Count(int64_t latents, int64_t finished, bool begins) const;
  int convs() const { return convs_; }

  int64_t DelayFrames() const;
  // How many latent frames before its own the video frames of a latent frame, and all later ones, depend on.
  int64_t RebuildLatents() const;

 private:
  struct Stage {
    int convs = 0;  // of its blocks, of the one before them or after them, and of the step that follows
    int times = 1;  // frames that the step makes of one
  };
  std::vector<Stage> stages_;
  bool causal_;
  int convs_ = 0;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_LTX2_FRAME_COUNTS_H_
